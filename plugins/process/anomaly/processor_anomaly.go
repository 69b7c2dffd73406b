// Package anomaly judges the readings of devices as they arrive: against fixed limits, against the
// last hour, and against the device's own last week. The processor anomaly marks events with the
// alerts that they open or resolve.
//
// A crash loses only what is in memory. The windows are rebuilt from the rollup store, open alerts
// from the alert store, baselines from the control store. Events judged since the last commit are
// judged again; an alert that one of them opens has the same id.
package anomaly

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/trace"
)

const (
	anomalyFieldRules     = "rules"
	anomalyFieldReload    = "reload"
	anomalyFieldControl   = "control"
	anomalyFieldRollups   = "rollups"
	anomalyFieldWindow    = "window"
	anomalyFieldMaxSeries = "max_series"
	anomalyFieldIdle      = "idle"
	anomalyFieldLearning  = "learning"
	anomalyFieldRelearn   = "relearn_on_firmware"
)

// metaAlerts is the metadata key of the JSON array of an event's transitions.
const metaAlerts = "local_alerts"

func spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Judges the readings of each event, and marks it with the alerts that it opens or resolves.").
		Description(`
Each metric of each device is a series. Rules say which series are judged, and how:

- `+"`threshold`"+`: the reading against fixed limits, with hysteresis;
- `+"`zscore`"+`: against the readings of the last hour. In the window, a reading counts as at most three standard deviations from the mean, so that an anomaly does not become normal at once; a level that lasts for a whole window does;
- `+"`baseline`"+`: against the device's own last seven days, computed daily from the rollups. A device that is new, or whose firmware has changed, is learned for `+"`learning`"+` before it is judged.

An event that opens or resolves alerts is marked with `+"`local_alerts`"+`: a JSON array of transitions as in `+"`schemas/alert/v1.json`"+`. Nothing is dropped, and no error marks an event as failed. Route marked events to the alerts' topic and drop the others with a `+"`switch`"+` output: their offsets are then committed when the alerts are acknowledged. An event that is delivered again changes no series, and gets the same mark as the first time.

Not judged are: duplicates; metrics that the event's schema does not know; replayed events, unless their `+"`weir_target`"+` names `+"`detect`"+`; readings that are older than the newest one of their series by more than a twelfth of the window.

The input must keep the order of each partition.

### Memory

A series takes about 300 bytes, and a device about 250: 50,000 devices of six series each take 100 MB. After a restart or a rebalance, windows are rebuilt from the rollup store, and open alerts are taken over from the alert store. When these do not answer, detection goes on with empty windows, and asks again.

### Metrics

`+"`weir_anomaly_samples_total`, `weir_anomaly_transitions_total{detector,transition}`, `weir_anomaly_skipped_total{reason=duplicate|replay|redelivered|late|erased}`, `weir_anomaly_series`, `weir_anomaly_evicted_devices_total`, `weir_anomaly_loads_total{result=ok|failed}`, `weir_anomaly_rules_valid` and `weir_anomaly_baseline_failures_total`"+`.`).
		Field(service.NewStringField(anomalyFieldRules).
			Description("The file of rules. It is read again when it changes. If it has an error, that is logged, and the "+
				"last rules stay in force.").
			Example("configs/anomaly.yaml")).
		Field(service.NewDurationField(anomalyFieldReload).
			Description("How often it is checked whether the file has changed.").
			Default("5s").Advanced()).
		Field(service.NewStringField(anomalyFieldControl).
			Description("The SQL store of baselines and open alerts, which is the control store: `sqlite://PATH` or "+
				"`postgres://…`. Empty: there are no baselines, and an alert may be opened again after a restart.").
			Default("").Secret().Example("sqlite://data/control.db")).
		Field(service.NewStringField(anomalyFieldRollups).
			Description("The SQL store of rollups, from which windows are rebuilt and baselines computed: `sqlite://PATH` "+
				"or `postgres://…`. Empty: windows begin empty, and there are no baselines.").
			Default("").Secret().Example("sqlite://data/rollups.db")).
		Field(service.NewDurationField(anomalyFieldWindow).
			Description("The length of the window that `zscore` compares a reading with: a multiple of 12 minutes, because "+
				"it has twelve buckets of whole minutes.").
			Default("1h")).
		Field(service.NewIntField(anomalyFieldMaxSeries).
			Description("The maximum number of series in memory. Above it, the devices that have been silent for longest "+
				"are forgotten, counted in `weir_anomaly_evicted_devices_total`, and read from the stores again when they "+
				"send. If the fleets have many more series than this, reading costs more than judging.").
			Default(1000000)).
		Field(service.NewDurationField(anomalyFieldIdle).
			Description("How long a device may be silent before it is removed from memory.").
			Default("2h")).
		Field(service.NewDurationField(anomalyFieldLearning).
			Description("How long a device that is new, or whose firmware has changed, is only learned: until then "+
				"`baseline` opens no alerts for it.").
			Default("168h")).
		Field(service.NewStringEnumField(anomalyFieldRelearn, string(relearnAny), string(relearnMajor), string(relearnNever)).
			Description("Which changes of the firmware make a device learn again: `any` change, only a change of the "+
				"`major` version, or `never`.").
			Default(string(relearnAny))).
		Example("Detection", "Each alert of an event becomes one record; events without alerts are dropped.", `
pipeline:
  processors:
    - label: detect
      anomaly:
        rules: configs/anomaly.yaml
        control: sqlite://data/control.db
        rollups: sqlite://data/rollups.db

output:
  switch:
    cases:
      - check: '@local_alerts.or("") == ""'
        output:
          drop: {}
      - output:
          kafka_franz:
            seed_brokers: [ localhost:9092 ]
            topic: alert-events
            key: ${! json("device_id") }
          processors:
            - mapping: root = @local_alerts.parse_json()
            - unarchive:
                format: json_array
`)
}

// Register registers the components of this package.
func Register(env *service.Environment) error {
	return env.RegisterBatchProcessor("anomaly", spec(),
		func(parsed *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			return newProcessor(parsed, res)
		})
}

// processor runs a detector within the engine.
type processor struct {
	*detector
	log     *service.Logger
	trace   *trace.Provider
	reload  time.Duration
	idle    time.Duration
	tending *flow.Task
}

func newProcessor(parsed *service.ParsedConfig, res *service.Resources) (*processor, error) {
	d := &detector{stores: &stores{res: res, timeout: loadTimeout, now: time.Now}, now: time.Now,
		notes: notes{list: map[deviceKey]learn{}}}
	p := &processor{detector: d, log: res.Logger(), trace: trace.Of(res)}
	var rules, relearning string
	var window, learning time.Duration
	var limit int
	if err := conf.Read(parsed, anomalyFieldRules, &rules,
		anomalyFieldControl, sqldb.MaybeURL(&d.stores.controlURL),
		anomalyFieldRollups, sqldb.MaybeURL(&d.stores.rollupsURL),
		anomalyFieldRelearn, &relearning, anomalyFieldReload, conf.Positive(&p.reload),
		anomalyFieldWindow, conf.Positive(&window),
		anomalyFieldIdle, conf.Positive(&p.idle), anomalyFieldLearning, conf.NotNegative(&learning),
		anomalyFieldMaxSeries, conf.Between(&limit, shardCount, math.MaxInt32)); err != nil {
		return nil, err
	}
	if window < closedBuckets*time.Minute || window%(closedBuckets*time.Minute) != 0 {
		return nil, fmt.Errorf("reading anomaly: window %s is not a multiple of 12 minutes, which makes buckets of whole "+
			"minutes", window)
	}
	if err := conf.Checked(parsed, nil); err != nil {
		return nil, err
	}
	d.timing = timing{width: window.Microseconds() / closedBuckets, span: window.Microseconds()}
	d.learning, d.relearn = learning.Microseconds(), relearn(relearning)
	var err error
	if d.rules, err = openRules(rules); err != nil {
		return nil, err
	}
	d.state = newState(limit)
	d.partitions.list = map[partitionKey]*partition{}
	d.day.Store(-1)
	d.meters = newMeters(res)
	p.tending = flow.Start(p.tend)
	return p, nil
}

// ProcessBatch marks the messages of the batch in place.
func (p *processor) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	defer p.trace.Batch("anomaly", batch).End(nil)
	if err := p.mark(ctx, batch); err != nil {
		p.log.Warnf("detection goes on without what is stored of devices: %v", err)
	}
	return []service.MessageBatch{batch}, nil
}

// Close stores the notes of devices and closes the stores.
func (p *processor) Close(ctx context.Context) error {
	if err := p.tending.End(ctx); err != nil {
		return fmt.Errorf("closing the anomaly detector: %w", err)
	}
	defer p.stores.close()
	return p.flush(ctx)
}

var _ service.BatchProcessor = (*processor)(nil)
