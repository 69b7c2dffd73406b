// Package replay runs jobs that use stored data again: reprocess publishes events to the consumers again, rebuild
// computes windows of rollups again, redrive publishes dead letters to the stage that failed, and enrich repeats
// look-ups that failed for stored events. Jobs are rows of the control store; the input replay_jobs executes them.
//
// A crash leaves a job whose lease expires. The next process continues after what the log had acknowledged, and
// publishes again what was in flight; consumers recognise that by its coordinates, and count nothing twice.
package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/kafka"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry"
	"weir/plugins/operate/recount"
	"weir/plugins/store/lake"
)

const (
	replayFieldControl     = "control"
	replayFieldLog         = "log"
	replayFieldRaw         = "raw"
	replayFieldDeadLetter  = "dead_letter"
	replayFieldRollups     = "rollups"
	replayFieldTopic       = "topic"
	replayFieldConcurrency = "concurrency"
	replayFieldRate        = "rate"
	replayFieldLive        = "live_topic"
	replayFieldGroups      = "groups"
	replayFieldBehind      = "max_behind"
	replayFieldBatchSize   = "batch_size"
	replayFieldSettle      = "settle"
	replayFieldUpcast      = "upcast"
	replayFieldSchemas     = "schemas"
	replayFieldEnriches    = "enriches"
)

// Metadata of the messages, for the stream's config.
const (
	metaTopic    = "local_topic"    // where a message goes
	metaValidate = "local_validate" // set when it is to be validated first
	metaAged     = "local_aged"     // set when it was stale, and is sent back all the same
)

func inputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Runs replay jobs: publishes stored events and dead letters again, and rebuilds rollups.").
		Description(`
Jobs are made with `+"`POST /v1/replays` of the api, or `weir replay`"+`. Any number of processes may run this input on one control store: a
job belongs to one of them at a time, and is taken over when that one is gone. A job's position moves when the output has
acknowledged; what a crash interrupts is published again, under the same coordinates.

Each message is an event as it was sent, with the headers of its first delivery, its coordinates in `+"`weir_delivery`"+`, by which
every consumer recognises it, and in `+"`weir_target`"+` the groups that are to handle it. Metadata: `+"`local_topic`"+`, where it goes;
`+"`local_device`"+`, the record key; `+"`local_validate`"+`, set when a schema has to judge it first (dead letters of the ingest). All messages
of a batch are to be validated, or none; `+"`local_aged`"+`, set beside it when it failed because it was stale, and somebody asked for
that. A message that fails on the way goes through the processor `+"`replay_refused`"+` and is
dropped; one that the log did not take is rejected, and comes again.

A job of the mode `+"`enrich`"+` emits a message for each stored event and each look-up that failed for it, with the name of the look-up in the metadata
`+"`local_enrich`"+`. The pipeline must send it through `+"`enrich`"+`, through the other processors of events before they are stored (`+"`privacy`"+`), and to
`+"`replay_enriched`"+`. Set `+"`enriches`"+` if it does. If it does not nevertheless, the job fails with that reason.

### Live traffic

With the addresses of brokers, a job makes way for live events: while there are some it begins slowly, measures how long the log takes to answer,
and becomes faster as long as the answers do not take longer. It always reads some 400 events a second. Without live traffic it reads as
fast as `+"`rate` and `max_behind`"+` allow.

### Metrics

`+"`weir_replay_events_total{mode,outcome=published|refused}`, of the mode `enrich` `outcome=enriched|failed`, and the gauges `weir_replay_running_jobs` and `weir_replay_allowed_events_per_second`"+`.`).
		Field(service.NewStringField(replayFieldControl).
			Description("The SQL store of jobs and of what became of dead letters: `sqlite://PATH` or `postgres://…`.").Secret().
			Example("sqlite://data/control.db")).
		Field(service.NewStringField(replayFieldLog).
			Description("Which log the jobs are of, and the stores: `telemetry` or `user-events`. Those of the other log "+
				"are for another `replay_jobs`.").
			Default(event.LogTelemetry)).
		Field(service.NewStringField(replayFieldRaw).Secret().
			Description("The store of raw events.").Example("file://data/raw")).
		Field(service.NewStringField(replayFieldDeadLetter).Secret().
			Description("The store of dead letters.").Example("file://data/dead-letter")).
		Field(service.NewStringField(replayFieldRollups).
			Description("The SQL store of rollups, which rebuilds write to. Only telemetry has some.").Secret().
			Default("").Example("sqlite://data/rollups.db")).
		Field(service.NewStringField(replayFieldTopic).
			Description("The topic that consumers read replayed events from. Empty: the log's, `replay-events` or "+
				"`user-replay-events`.").
			Default("")).
		Field(service.NewIntField(replayFieldConcurrency).
			Description("How many jobs run at a time in this process.").
			Default(1)).
		Field(service.NewIntField(replayFieldRate).
			Description("How many events a second the jobs of this process read at most, all together. A job may name a "+
				"lower rate for itself.").
			Default(50_000)).
		Fields(kafka.OptionalFields("Addresses of the log's brokers: to see whether there is live traffic, which jobs "+
			"make way for, and how far consumers are behind. Without them jobs read at their rate, also if that slows "+
			"live events down.")...).
		Field(service.NewStringField(replayFieldLive).
			Description("The topic of live events. Empty: the log's, `raw-events` or `user-events`.").Default("").Advanced()).
		Field(service.NewStringListField(replayFieldGroups).
			Description("The consumer groups of replayed events. One of your own is `GROUP=TARGET`; without a target it is "+
				"not waited for. None: the log's.").
			Default([]any{}).Advanced()).
		Field(service.NewIntField(replayFieldBehind).
			Description("How many replayed events a consumer group of the job may be behind before the job waits for it. So "+
				"the job follows the pace of the consumers, and delays live events by no more than the time for so many.").
			Default(50_000)).
		Field(service.NewIntField(replayFieldBatchSize).
			Description("How many events make a batch.").
			Default(500).Advanced()).
		Field(service.NewDurationField(replayFieldSettle).
			Description("How long a rebuild waits before it looks again at windows whose events are still on their way into "+
				"the raw store: a batch of that store.").
			Default("5s").Advanced()).
		Field(service.NewBloblangField(replayFieldUpcast).
			Description("The mapping of events in the rollup stream, before they are counted. Rebuilds count stored events "+
				"after this mapping.").
			Optional()).
		Field(service.NewStringField(replayFieldSchemas).
			Description("Where the schemas are, as `schema_validate` takes it: rebuilds count the metrics that they declare "+
				"when the job begins. Empty, they count what was declared when an event was stored.").
			Default("").Secret().Example("sqlite://data/control.db")).
		Field(service.NewBoolField(replayFieldEnriches).
			Description("Whether the pipeline sends messages with the metadata `local_enrich` through `enrich` to "+
				"`replay_enriched`. If not, jobs of the mode `enrich` fail.").
			Default(false)).
		Example("Run jobs", "Dead letters of the ingest are validated again; what fails again is noted, and stays a dead letter.", `
input:
  replay_jobs:
    control: sqlite://data/control.db
    raw: file:///var/lib/weir/raw
    dead_letter: file:///var/lib/weir/dead-letter
    rollups: sqlite://data/rollups.db
    schemas: sqlite://data/control.db
    seed_brokers: [ localhost:9092 ]

pipeline:
  processors:
    - switch:
        - check: '@local_validate == "1"'
          processors:
            - schema_validate:
                url: file://schemas

output:
  fallback:
    - reject_errored:
        kafka_franz:
          seed_brokers: [ localhost:9092 ]
          topic: ${! @local_topic }
          key: ${! @local_device }
          metadata:
            include_prefixes: [ weir_ ]
    - switch:
        cases:
          - check: errored()
            output:
              drop: {}
              processors:
                - replay_refused: {}
          - output:
              reject: ${! @fallback_error }
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error { return register(env, stores()) }

func register(env *service.Environment, from sources) error {
	if err := env.RegisterProcessor("replay_refused", refusedSpec(),
		func(parsed *service.ParsedConfig, _ *service.Resources) (service.Processor, error) {
			return refused{}, conf.Checked(parsed, nil)
		}); err != nil {
		return err
	}
	if err := env.RegisterProcessor("replay_enriched", enrichedSpec(),
		func(parsed *service.ParsedConfig, _ *service.Resources) (service.Processor, error) {
			return enriched{}, conf.Checked(parsed, nil)
		}); err != nil {
		return err
	}
	return env.RegisterBatchInput("replay_jobs", inputSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
			return newInput(conf, res, from)
		})
}

// input is replay_jobs.
type input struct {
	res                               *service.Resources
	log                               event.Log
	from                              sources
	control, raw, deadLetter, rollups string
	schemas                           string
	topic, live                       string
	cluster                           kafka.Cluster
	consumers                         []event.Consumer
	concurrency, rate, batch, behind  int
	enriches                          bool
	published                         *service.MetricCounter
	running, allowed                  *service.MetricGauge
	yield                             *yield
	watcher                           *watcher // nil without brokers
	parcels, again                    chan *parcel
	poll, settle                      time.Duration
	upcast                            *bloblang.Executor
	busy                              atomic.Int64

	mu      sync.Mutex
	stop    context.CancelCauseFunc
	workers sync.WaitGroup
	release []func()
}

func newInput(parsed *service.ParsedConfig, res *service.Resources, from sources) (*input, error) {
	in := &input{res: res, from: from, parcels: make(chan *parcel), poll: time.Second,
		published: res.Metrics().NewCounter("weir_replay_events_total", "mode", "outcome"),
		running:   meter.Gauge(res.Metrics(), "weir_replay_running_jobs"),
		allowed:   meter.Gauge(res.Metrics(), "weir_replay_allowed_events_per_second"),
	}
	for _, mode := range []Mode{Reprocess, Redrive} {
		in.published.Incr(0, string(mode), "published")
		in.published.Incr(0, string(mode), "refused")
	}
	for _, outcome := range []string{lookedEnriched, lookedFailed} {
		in.published.Incr(0, string(Enrich), outcome)
	}
	var items []string
	var log string
	err := conf.Read(parsed, replayFieldLog, &log, replayFieldControl, sqldb.URL(&in.control), replayFieldRaw,
		lake.URL(&in.raw),
		replayFieldDeadLetter, lake.URL(&in.deadLetter),
		replayFieldRollups, sqldb.MaybeURL(&in.rollups), replayFieldTopic, &in.topic, replayFieldLive, &in.live,
		replayFieldSchemas, registry.MaybeURL(&in.schemas),
		replayFieldConcurrency, conf.Positive(&in.concurrency), replayFieldRate, conf.Positive(&in.rate),
		replayFieldBatchSize, conf.Positive(&in.batch), replayFieldBehind, conf.Positive(&in.behind),
		replayFieldSettle, conf.NotNegative(&in.settle), replayFieldGroups, &items, replayFieldEnriches, &in.enriches)
	if err != nil {
		return nil, err
	}
	if in.log, err = event.LogOf(log); err != nil {
		return nil, fmt.Errorf("field %s: %w", replayFieldLog, err)
	}
	if in.rollups == "" && slices.Contains(in.log.Targets(), event.TargetRollup) {
		return nil, fmt.Errorf("field %s is missing: rebuilds of %s write there", replayFieldRollups, in.log.Name)
	}
	in.topic, in.live = cmp.Or(in.topic, in.log.Replays()), cmp.Or(in.live, in.log.Live())
	if parsed.Contains(replayFieldUpcast) {
		if in.upcast, err = parsed.FieldBloblang(replayFieldUpcast); err != nil {
			return nil, err
		}
	}
	if in.cluster, err = kafka.FromParsed(parsed); err != nil && !errors.Is(err, kafka.ErrNoBroker) {
		return nil, err
	}
	var groups []string
	for _, item := range items {
		groups = append(groups, strings.Split(item, ",")...)
	}
	if len(groups) == 0 {
		groups = in.log.Groups()
	}
	if in.consumers, err = event.ParseConsumers(groups); err != nil {
		return nil, fmt.Errorf("field %s: %w", replayFieldGroups, err)
	}
	if err := conf.Checked(parsed, nil); err != nil {
		return nil, err
	}
	in.yield = newYield(in.rate)
	rate, _ := in.yield.allowed()
	in.allowed.Set(int64(rate))
	in.again = make(chan *parcel, in.concurrency*parcelsMost)
	return in, nil
}

// Connect opens the stores and begins to take up jobs.
func (in *input) Connect(ctx context.Context) (err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stop != nil {
		return nil
	}
	defer func() {
		if err != nil {
			in.releaseAll()
		}
	}()
	control, err := in.open(ctx, in.control)
	if err != nil {
		return err
	}
	store, err := OpenStore(ctx, control)
	if err != nil {
		return err
	}
	events, err := in.openLake(ctx, in.raw)
	if err != nil {
		return err
	}
	dead, err := in.openLake(ctx, in.deadLetter)
	if err != nil {
		return err
	}
	letters, err := in.from.letters(ctx, dead, control, in.log.Name)
	if err != nil {
		return err
	}
	var rollups rollups // nil where none are made of the log: no job needs them
	if in.rollups != "" {
		db, err := in.open(ctx, in.rollups)
		if err != nil {
			return err
		}
		if rollups, err = in.from.rollups(ctx, db); err != nil {
			return err
		}
	}
	working, stop := context.WithCancelCause(context.Background())
	if in.cluster.Named() {
		in.yield.hold()
		busy := func() bool { return in.busy.Load() > 0 }
		if in.watcher, err = startWatcher(working, in.cluster, in.consumers, in.live, in.topic, busy, in.yield,
			in.res.Logger()); err != nil {
			stop(err)
			return err
		}
	}
	in.stop = stop
	var logs *kafka.Logs
	if in.cluster.Named() {
		logs = kafka.NewLogs(in.cluster, "weir-replay-log")
		in.release = append(in.release, logs.Close)
	}
	for range in.concurrency {
		t := tools{store: store, owner: uuid.NewString(), out: in.parcels, batch: in.batch, topic: in.topic,
			settle: in.settle, upcast: in.upcast, log: in.res.Logger(),
			events: in.from.events(events), letters: letters, rollups: rollups, logs: logs}
		if in.enriches {
			t.later = in.from.later(events)
			t.looked = func(outcome string, n int64) { in.published.Incr(n, string(Enrich), outcome) }
		}
		if in.schemas != "" {
			t.schemas = func(ctx context.Context) (recount.Schemas, error) { return in.from.schemas(ctx, in.schemas) }
		}
		in.workers.Go(func() { in.work(working, t) })
	}
	return nil
}

// work takes up one job after the other.
func (in *input) work(ctx context.Context, t tools) {
	for ctx.Err() == nil {
		j, err := t.store.take(ctx, t.owner, in.log.Name)
		if err != nil && ctx.Err() == nil {
			in.res.Logger().Warnf("%v", err)
		}
		if j == nil {
			_ = sleep(ctx, in.poll) // when it ends, so does the loop
			continue
		}
		r := &run{tools: t, job: j, flight: newFlight(j), pace: in.pace(j)}
		in.running.Set(in.busy.Add(1))
		r.log.Infof("replay %s begins, or goes on: %s", j.ID, j.Mode)
		if err := r.carry(ctx); err != nil {
			r.log.Warnf("replay %s was let go: %v", j.ID, err)
		}
		in.running.Set(in.busy.Add(-1))
		progress, _ := r.flight.state()
		r.log.Infof("replay %s is at rest: %d events read, %d published", j.ID, progress.Read, progress.Published)
	}
}

// ReadBatch returns the next messages of a job. Their acknowledgement moves it;
// what the output refused comes again.
func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	in.mu.Lock()
	connected := in.stop != nil
	in.mu.Unlock()
	if !connected {
		return nil, nil, service.ErrNotConnected
	}
	p, err := in.next(ctx)
	if err != nil {
		return nil, nil, err
	}
	batch, verdicts := p.emit()
	emitted := time.Now()
	return batch, func(ctx context.Context, err error) error {
		if err == nil && p.mode != Enrich { // whose messages do not go to the log
			in.yield.saw(ack, time.Since(emitted))
			rate, _ := in.yield.allowed()
			in.allowed.Set(int64(rate))
		}
		failed := verdicts.Rejected()
		if err == nil && p.settle != nil {
			err = p.settle(ctx, failed)
		}
		if err != nil {
			if p.back != nil {
				p.back(err)
			}
			in.retry(p)
			return nil
		}
		if p.mode == Enrich {
			p.flight.settled(p, nil)
			return nil
		}
		mode := string(p.mode)
		in.published.Incr(int64(len(p.messages)-len(failed)), mode, "published")
		if len(failed) > 0 {
			in.published.Incr(int64(len(failed)), mode, "refused")
		}
		p.flight.settled(p, failed)
		return nil
	}, nil
}

// next returns what is to be emitted: first what is emitted again.
func (in *input) next(ctx context.Context) (p *parcel, err error) {
	for {
		select {
		case p = <-in.again:
		default:
			select {
			case p = <-in.again:
			case p = <-in.parcels:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if !p.flight.abandoned() { // the job has been let go
			return p, nil
		}
	}
}

// retryPause keeps a refused batch from going round without end.
const retryPause = 200 * time.Millisecond

// retry emits a parcel again. There is room: each job has no more in flight.
func (in *input) retry(p *parcel) { time.AfterFunc(retryPause, func() { in.again <- p }) }

// Close lets go of the jobs, saved as far as the log has acknowledged: another
// process, or this one's next run, goes on there.
func (in *input) Close(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stop == nil {
		return nil
	}
	in.stop(errStopped)
	done := make(chan struct{})
	go func() { in.workers.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return errors.Join(errors.New("closing the replays: a job has not stopped"), ctx.Err())
	}
	if in.watcher != nil {
		in.watcher.close()
	}
	in.releaseAll()
	in.stop = nil
	return nil
}

var _ service.BatchInput = (*input)(nil)
