package alert

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
)

const (
	storeFieldURL           = "url"
	storeFieldGroupWait     = "group_wait"
	storeFieldGroupInterval = "group_interval"
	storeFieldCooldown      = "cooldown"
	storeFieldEscalateAfter = "escalate_after"
	storeFieldQuiet         = "quiet"
	storeFieldSendResolved  = "send_resolved"
	storeFieldMaxOpen       = "max_open_per_fleet"
	storeFieldBatching      = "batching"
)

const (
	sweepEvery = time.Second
)

func storeSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Records alerts as they open and resolve, and decides which notices are sent, and when.").
		Description(`
Its messages are records of the topic `+"`alert-events`, as in `schemas/alert/v1.json`; put the processor `alert_check`"+` before it. A batch is recorded in one transaction, or not at all. A record that was recorded before changes nothing: an alert is identified by its `+"`alert_id`"+`. If an alert opens for a subject (rule, fleet, device, metric) that has an open alert, it is folded into that one.

An alert stays open until it resolves; people can acknowledge it (`+"`POST /v1/alerts/{id}/acknowledge`"+`). People get notices, which the input `+"`alert_notices`"+` hands to each channel:

- alerts of one fleet, rule and severity share a notice: it waits `+"`group_wait`"+` for more of them, and the next one follows after `+"`group_interval`"+` at the earliest;
- after a notice of a subject, its further alerts make none for `+"`cooldown`"+`; if one is open at the end of that time, a notice follows;
- an alert that nobody has acknowledged within `+"`escalate_after`"+` makes one more notice, as escalated;
- the end of an alert makes a notice if its opening did.

### Metrics

`+"`weir_alert_records_total{result=opened|folded|resolved|repeated|erased|beyond}`, `weir_alert_escalations_total` and `weir_alert_sweep_failures_total`"+`.`).
		Field(service.NewStringField(storeFieldURL).
			Description("The SQL store of alerts: `sqlite://PATH` or `postgres://…`.").
			Secret().Example("sqlite://data/control.db")).
		Field(service.NewDurationField(storeFieldGroupWait).
			Description("How long a notice waits for more alerts of its group: those of one fleet, rule and severity.").
			Default("5s")).
		Field(service.NewDurationField(storeFieldGroupInterval).
			Description("The minimum time between two notices of a group with the same reason.").
			Default("5m")).
		Field(service.NewDurationField(storeFieldCooldown).
			Description("How long after a notice of a subject (rule, fleet, device, metric) further alerts of it make none.").
			Default("10m")).
		Field(service.NewDurationField(storeFieldEscalateAfter).
			Description("How long after its opening an alert that nobody has acknowledged makes one more notice; `0s` is "+
				"never.").
			Default("15m")).
		Field(service.NewDurationField(storeFieldQuiet).
			Description("How long after its last record an alert of the pipeline itself resolves, if no further one comes.").
			Default("1h")).
		Field(service.NewBoolField(storeFieldSendResolved).
			Description("Whether the end of an alert makes a notice.").
			Default(true)).
		Field(service.NewIntField(storeFieldMaxOpen).
			Description("The maximum number of open alerts of one fleet; 0 is no limit. A further alert is not recorded "+
				"and makes no notice, only a warning in the log and a count in the metric, as `result=beyond`.").
			Default(defaultPolicy().MaxOpen)).
		Field(service.NewBatchPolicyField(storeFieldBatching)).
		Example("The alerts' lifecycle", "Messages that are not alerts are dropped; your stream may route them to the dead letters.", `
pipeline:
  processors:
    - label: check
      alert_check: {}

output:
  switch:
    cases:
      - check: errored()
        output:
          drop: {}
      - output:
          alert_store:
            url: sqlite://data/control.db
            escalate_after: 30m
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	return errors.Join(
		env.RegisterBatchOutput("alert_store", storeSpec(),
			func(parsed *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
				var policy service.BatchPolicy
				if err := conf.Read(parsed, storeFieldBatching, &policy); err != nil {
					return nil, policy, 0, err
				}
				out, err := newStoreOutput(parsed, res)
				if err != nil {
					return nil, policy, 0, err
				}
				return out, policy, 1, nil // one batch at a time keeps the order
			}),
		env.RegisterInput("alert_notices", noticesSpec(),
			func(conf *service.ParsedConfig, res *service.Resources) (service.Input, error) {
				return newNotices(conf, res)
			}),
		env.RegisterProcessor("alert_check", checkSpec(),
			func(parsed *service.ParsedConfig, _ *service.Resources) (service.Processor, error) {
				return check{}, conf.Checked(parsed, nil)
			}),
	)
}

// resultBeyond is the metric's result for records of alerts above the fleet's maximum of open ones.
const resultBeyond = "beyond"

// storeOutput implements the output alert_store.
type storeOutput struct {
	res    *service.Resources
	url    string
	policy policy
	now    func() time.Time

	records     *service.MetricCounter
	escalations *service.MetricCounter
	failures    *service.MetricCounter
	freshness   *service.MetricTimer
	beyond      *flow.Burst // logs which fleets have reached the maximum

	mu      sync.Mutex
	store   *store
	release func()
	sweeper *flow.Task
}

func newStoreOutput(parsed *service.ParsedConfig, res *service.Resources) (*storeOutput, error) {
	out := &storeOutput{res: res, now: time.Now}
	p := &out.policy
	err := conf.Read(parsed, storeFieldURL, sqldb.URL(&out.url), storeFieldGroupWait, conf.NotNegative(&p.GroupWait),
		storeFieldGroupInterval, conf.NotNegative(&p.GroupInterval), storeFieldCooldown, conf.NotNegative(&p.Cooldown),
		storeFieldEscalateAfter, conf.NotNegative(&p.EscalateAfter), storeFieldQuiet, conf.Positive(&p.Quiet),
		storeFieldSendResolved, &p.SendResolved, storeFieldMaxOpen, conf.NotNegative(&p.MaxOpen))
	if err = conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	out.beyond = flow.NewBurst(10*time.Second, func(text string) { res.Logger().Warn(text) })
	m := res.Metrics()
	out.records = meter.Counters(m, "weir_alert_records_total", "result",
		"opened", "folded", "resolved", "repeated", "erased", resultBeyond)
	out.escalations = meter.Counter(m, "weir_alert_escalations_total")
	out.failures = meter.Counter(m, "weir_alert_sweep_failures_total")
	out.freshness = meter.Timer(m, "weir_alert_freshness_seconds")
	return out, nil
}

// Connect opens the store and starts the periodic sweep.
func (o *storeOutput) Connect(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store != nil {
		return nil
	}
	store, release, err := sqldb.SharedAs(ctx, o.res, o.url, func(ctx context.Context, db *sqldb.DB) (*store, error) {
		return openStore(ctx, db, o.policy)
	})
	if err != nil {
		return err
	}
	o.store, o.release = store, release
	o.sweeper = flow.Start(func(ctx context.Context) { o.tend(ctx, store) })
	return nil
}

// tend sweeps the store periodically, for changes that depend only on time.
func (o *storeOutput) tend(ctx context.Context, store *store) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	failing := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			var swept swept
			swept, err = store.Sweep(ctx, o.now())
			o.escalations.Incr(swept.Escalated)
		}
		if err != nil && ctx.Err() == nil {
			o.failures.Incr(1)
			if !failing {
				o.res.Logger().Warnf("looking after alerts is tried again: %v", err)
			}
		}
		failing = err != nil
	}
}

// WriteBatch returns nil when all records of the batch are committed; after an error none is.
func (o *storeOutput) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	o.mu.Lock()
	store := o.store
	o.mu.Unlock()
	if store == nil {
		return service.ErrNotConnected
	}
	records := make([]*Record, 0, len(batch))
	for _, msg := range batch {
		raw, err := msg.AsBytes()
		if err != nil {
			return fmt.Errorf("reading an alert: %w", err)
		}
		r, err := ParseRecord(raw)
		if err != nil {
			return fmt.Errorf("storing alerts: a record is no alert: put alert_check before: %w", err)
		}
		records = append(records, r)
	}
	done, err := store.Apply(ctx, records, o.now())
	if err != nil {
		return err
	}
	for result, n := range map[string]int{"opened": done.Opened, "folded": done.Folded, "resolved": done.Resolved,
		"repeated": done.Repeated, "erased": done.Erased, resultBeyond: done.Beyond} {
		if n > 0 {
			o.records.Incr(int64(n), result)
		}
	}
	if oldest := oldestOf(records); oldest != nil {
		o.freshness.Timing(o.now().Sub(*oldest).Nanoseconds())
	}
	if done.Beyond > 0 {
		o.beyond.Note(resultBeyond, fmt.Sprintf("%d alerts are not recorded: fleet %q has %d open ones, as many as "+
			"max_open_per_fleet allows; resolve some",
			done.Beyond, done.BeyondOf, o.policy.MaxOpen))
	}
	return nil
}

// oldestOf returns when the oldest event behind metric alerts was received, or nil.
func oldestOf(records []*Record) (oldest *time.Time) {
	for _, r := range records {
		if r.Kind == Metric && r.ReceivedAt != nil && (oldest == nil || r.ReceivedAt.Before(*oldest)) {
			oldest = r.ReceivedAt
		}
	}
	return oldest
}

// Close stops the sweep and releases the store.
func (o *storeOutput) Close(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store == nil {
		return nil
	}
	if err := o.sweeper.End(ctx); err != nil {
		return fmt.Errorf("closing the alert store: %w", err)
	}
	o.release()
	o.store = nil
	return nil
}

var _ service.BatchOutput = (*storeOutput)(nil)
