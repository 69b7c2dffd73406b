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
		Summary("Records alerts as they open and resolve, and decides whom to tell and when.").
		Description(`
Its messages are records of the topic `+"`alert-events`, as in `schemas/alert/v1.json`; put the processor `alert_check`"+` before it. A batch is recorded in one transaction, or not at all. A record that was recorded before changes nothing: an alert is known by its `+"`alert_id`"+`, and one that opens on a subject (rule, fleet, device, metric) that has an open alert is folded into that.

An alert is open, until someone acknowledges it (`+"`POST /v1/alerts/{id}/acknowledge`"+`) and until it resolves. People are told by notices, which the input `+"`alert_notices`"+` hands to each channel:

- alerts of one fleet, rule and severity are told together: a notice waits `+"`group_wait`"+` for more, and the next comes `+"`group_interval`"+` later at the soonest;
- a subject that people were told of is silent for `+"`cooldown`"+`; if it is open again then, they are told;
- an alert that nobody acknowledged within `+"`escalate_after`"+` is told once more, as escalated;
- that an alert has resolved is told when its opening was.

### Metrics

`+"`weir_alert_records_total{result=opened|folded|resolved|repeated|erased|beyond}`, `weir_alert_escalations_total` and `weir_alert_sweep_failures_total`"+`.`).
		Field(service.NewStringField(storeFieldURL).
			Description("The SQL store of alerts: `sqlite://PATH` or `postgres://…`.").
			Secret().Example("sqlite://data/control.db")).
		Field(service.NewDurationField(storeFieldGroupWait).
			Description("How long a notice waits for more alerts of its group.").
			Default("5s")).
		Field(service.NewDurationField(storeFieldGroupInterval).
			Description("The least time between two notices of a group, for the same reason.").
			Default("5m")).
		Field(service.NewDurationField(storeFieldCooldown).
			Description("How long people hear nothing of a subject after they were told of it.").
			Default("10m")).
		Field(service.NewDurationField(storeFieldEscalateAfter).
			Description("After how long without acknowledgement an alert is told once more; `0s` for never.").
			Default("15m")).
		Field(service.NewDurationField(storeFieldQuiet).
			Description("A pipeline alert of which nothing more is heard for this long resolves.").
			Default("1h")).
		Field(service.NewBoolField(storeFieldSendResolved).
			Description("Whether people are told that an alert has resolved.").
			Default(true)).
		Field(service.NewIntField(storeFieldMaxOpen).
			Description("How many alerts of one fleet may be open. One more is not recorded and nobody is told of it, but "+
				"for a warning in the log and the "+
				"metric, `result=beyond`; 0 is no bound.").
			Default(defaultPolicy().MaxOpen)).
		Field(service.NewBatchPolicyField(storeFieldBatching)).
		Example("The alerts' lifecycle", "What is no alert goes to the dead letters.", `
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

// resultBeyond is the metric's result of records that exceed their fleet's maximum of open alerts.
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
