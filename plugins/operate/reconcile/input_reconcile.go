package reconcile

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/kafka"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
	"weir/plugins/process/rule"
	"weir/plugins/store/lake"
)

const (
	reconcileFieldClientID        = "client_id"
	reconcileFieldRaw             = "raw"
	reconcileFieldDeadLetter      = "dead_letter"
	reconcileFieldTopics          = "topics"
	reconcileFieldDeadLetterTopic = "dead_letter_topic"
	reconcileFieldRawGroup        = "raw_group"
	reconcileFieldDeadLetterGroup = "dead_letter_group"
	reconcileFieldInterval        = "interval"
	reconcileFieldWait            = "wait"
	reconcileFieldControl         = "control"
	reconcileFieldLog             = "log"
	reconcileFieldSample          = "sample"
	reconcileFieldUpcast          = "upcast"
	reconcileFieldDelay           = "rules_delay"
)

// ruleUnexplained is the rule of the alerts.
const ruleUnexplained = "reconcile_unexplained"

func inputSpec() *service.ConfigSpec {
	d := Config{}.defaults()
	topics := make([]any, len(d.Topics))
	for i, t := range d.Topics {
		topics[i] = t
	}
	text := func(name, description, standard string) *service.ConfigField {
		return service.NewStringField(name).Description(description).Default(standard).Advanced()
	}
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Reconciles, on schedule, that every record of the log is stored, proven a duplicate, dead-lettered, "+
			"erased or in flight.").
		Description(`
It reads the offsets of the log and the coverage of the stores' objects, as `+"`weir reconcile`"+` does, and emits nothing while every record is explained. If records are
unexplained, or the stores contradict each other, it emits one alert for each new finding, with metadata `+"`local_alert`"+` set to `+"`1`"+`, for the topic `+"`alert-events`"+`.

The first run after a start covers what the log holds. Each later one covers also what the log has deleted since, so that no record leaves the log without
having been reconciled, as long as the interval is well below the retention. One instance is enough.

### Metrics

The gauges `+"`weir_reconcile_unexplained_events`, `weir_reconcile_false_duplicates`, `weir_reconcile_in_flight_events`, `weir_reconcile_success_timestamp_seconds` and `weir_reconcile_interval_seconds`"+`, and `+"`weir_reconcile_runs_total{result=explained|loss|failed}`, and of results of rules that were computed again `weir_reconcile_rule_results{outcome}`.").
		Fields(kafka.Fields()...).
		Field(text(reconcileFieldClientID, "How the client names itself to the brokers.", d.ClientID)).
		Field(service.NewStringField(reconcileFieldRaw).Secret().
			Description("URL of the raw store.").Example("file:///var/lib/weir/raw")).
		Field(service.NewStringField(reconcileFieldDeadLetter).Secret().
			Description("URL of the dead-letter store.").Example("file:///var/lib/weir/dead-letter")).
		Field(service.NewStringListField(reconcileFieldTopics).
			Description("The topics that hold events.").Default(topics).Advanced()).
		Field(text(reconcileFieldDeadLetterTopic, "The topic of dead letters.", d.DeadLetterTopic)).
		Field(text(reconcileFieldRawGroup, "The consumer group that writes the raw store.", d.RawGroup)).
		Field(text(reconcileFieldDeadLetterGroup, "The consumer group that writes the dead-letter store.",
			d.DeadLetterGroup)).
		Field(service.NewDurationField(reconcileFieldInterval).
			Description("How long after one reconciliation the next begins.").Default("5m")).
		Field(service.NewDurationField(reconcileFieldWait).
			Description("How long a reconciliation waits for what is in flight when it begins.").Default("60s")).
		Field(service.NewStringField(reconcileFieldControl).Secret().Default("").
			Description("The SQL store where each outcome is kept for `/v1/proof`, and where one more is asked for: "+
				"`sqlite://PATH` or `postgres://…`. Empty: none is kept.").Example("sqlite://data/control.db")).
		Field(service.NewStringField(reconcileFieldLog).Default(event.LogTelemetry).Advanced().
			Description("The log that is reconciled, `telemetry` or `user-events`: outcomes are stored and requested by log. "+
				"Its topics and groups have fields of their own.")).
		Field(service.NewIntField(reconcileFieldSample).Default(20).
			Description("How many results of rules, chosen at random, each run recomputes from the raw store; one that differs "+
				"is a finding. 0: none.")).
		Field(service.NewDurationField(reconcileFieldDelay).Default("5s").
			Description("The `delay` of the rules stream, which decides whether an event was late.")).
		Field(service.NewBloblangField(reconcileFieldUpcast).Optional().
			Description("The mapping of events in the rules stream. Without it, a result that differs from what the events as "+
				"they were sent yield is not a finding.")).
		Example("The reconcile stream", "Findings go to the topic of alerts.", `
input:
  label: reconcile
  reconcile:
    seed_brokers: ["localhost:9092"]
    raw: file:///var/lib/weir/raw
    dead_letter: file:///var/lib/weir/dead-letter
    interval: 5m

output:
  kafka_franz:
    seed_brokers: ["localhost:9092"]
    topic: alert-events
    key: ${! json("alert_id") }
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	open := func(conf *service.ParsedConfig, res *service.Resources) (service.Input, error) {
		in, err := newInput(conf, res)
		if err != nil {
			return nil, err
		}
		return service.AutoRetryNacks(in), nil
	}
	err := env.RegisterInput("audit", inputSpec().Deprecated(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.Input, error) {
			res.Logger().Warn("the input audit is called reconcile now, and its metrics weir_reconcile_…: rename it in the " +
				"config")
			return open(conf, res)
		})
	if err != nil {
		return err
	}
	return env.RegisterInput("reconcile", inputSpec(), open)
}

// input runs an reconciler on schedule.
type input struct {
	conf            Config
	raw, deadLetter string
	control, log    string
	interval, wait  time.Duration
	res             *service.Resources

	runs                                      *service.MetricCounter
	unexplained, differing, inFlight, success *service.MetricGauge
	records                                   *service.MetricGauge // by outcome
	results                                   *service.MetricGauge // of rules, by outcome

	reconciler *Reconciler
	proofs     *Proofs // nil: outcomes are not kept
	releases   []func()
	next       time.Time // of the next run
	said       string    // the ID of the last alert
}

func newInput(parsed *service.ParsedConfig, res *service.Resources) (*input, error) {
	m := res.Metrics()
	in := &input{
		res:         res,
		runs:        meter.Counters(m, "weir_reconcile_runs_total", "result", "explained", "loss", "failed"),
		success:     meter.Gauge(m, "weir_reconcile_success_timestamp_seconds"), // 0: never, as far as this process knows
		unexplained: meter.Gauge(m, "weir_reconcile_unexplained_events"),
		differing:   meter.Gauge(m, "weir_reconcile_false_duplicates"),
		inFlight:    meter.Gauge(m, "weir_reconcile_in_flight_events"),
		records:     m.NewGauge("weir_reconcile_records", "outcome"),
		results:     m.NewGauge("weir_reconcile_rule_results", "outcome"),
	}
	in.tell(Counts{})
	in.tellSample(&rule.Recomputed{})
	var err error
	if in.conf.Log, err = kafka.FromParsed(parsed); err != nil {
		return nil, fmt.Errorf("reading reconcile: %w", err)
	}
	err = conf.Read(parsed, reconcileFieldTopics, &in.conf.Topics, reconcileFieldClientID, &in.conf.ClientID,
		reconcileFieldRaw, lake.URL(&in.raw), reconcileFieldDeadLetter, lake.URL(&in.deadLetter),
		reconcileFieldDeadLetterTopic,
		&in.conf.DeadLetterTopic,
		reconcileFieldRawGroup, &in.conf.RawGroup, reconcileFieldDeadLetterGroup, &in.conf.DeadLetterGroup,
		reconcileFieldInterval, conf.Positive(&in.interval), reconcileFieldWait, conf.NotNegative(&in.wait),
		reconcileFieldControl, sqldb.MaybeURL(&in.control), reconcileFieldLog, &in.log,
		reconcileFieldSample, conf.NotNegative(&in.conf.Sampling.Most),
		reconcileFieldDelay, conf.NotNegative(&in.conf.Sampling.Delay))
	if err == nil {
		_, err = event.LogOf(in.log)
	}
	if err = conf.Checked(parsed, err); err != nil {
		return nil, err
	}
	meter.Gauge(m, "weir_reconcile_interval_seconds").SetFloat64(in.interval.Seconds())
	if parsed.Contains(reconcileFieldUpcast) {
		if in.conf.Sampling.Upcast, err = parsed.FieldBloblang(reconcileFieldUpcast); err != nil {
			return nil, err
		}
		in.conf.Sampling.Mapped = true
	}
	return in, nil
}

// Connect opens the stores.
func (in *input) Connect(ctx context.Context) error {
	if in.reconciler != nil {
		return nil
	}
	for url, to := range map[string]**lake.Store{in.raw: &in.conf.Raw, in.deadLetter: &in.conf.DeadLetter} {
		store, release, err := lake.Shared(ctx, in.res, url)
		if err != nil {
			in.release()
			return err
		}
		*to, in.releases = store, append(in.releases, release)
	}
	if err := in.openProofs(ctx); err != nil {
		in.release()
		return err
	}
	var err error
	if in.reconciler, err = New(in.conf); err != nil {
		in.release()
		return err
	}
	in.next = time.Now().Add(min(in.interval, 15*time.Second)) // the other streams start first
	return nil
}

// Read reconciles until there is something new to tell.
func (in *input) Read(ctx context.Context) (*service.Message, service.AckFunc, error) {
	if in.reconciler == nil {
		return nil, nil, service.ErrNotConnected
	}
	for {
		if err := in.rest(ctx); err != nil {
			return nil, nil, err
		}
		report, err := in.run(ctx)
		in.next = time.Now().Add(in.interval)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			in.runs.Incr(1, "failed")
			return nil, nil, fmt.Errorf("reconciling: %w", err)
		}
		in.tell(report.Total)
		if report.Sample != nil {
			in.tellSample(report.Sample)
		}
		if !report.Loss() {
			in.runs.Incr(1, "explained")
			in.success.Set(report.At.Unix())
			in.said = ""
			continue
		}
		in.runs.Incr(1, "loss")
		alert := alertOf(report)
		if alert.ID == in.said {
			continue
		}
		msg, err := alert.Message()
		if err != nil {
			return nil, nil, fmt.Errorf("writing an alert: %w", err)
		}
		in.said = alert.ID
		in.res.Logger().Errorf("reconciling: %s", alert.Summary)
		return msg, func(context.Context, error) error { return nil }, nil
	}
}

// tellSample sets what came of the last sample of results.
func (in *input) tellSample(s *rule.Recomputed) {
	in.results.Set(int64(s.Right), "right")
	in.results.Set(int64(s.Erased), "erased")
	in.results.Set(int64(len(s.Differing)), "differing")
	for _, why := range rule.Skips() {
		in.results.Set(int64(s.Skipped[why]), why)
	}
}

// tell sets the gauges of what a proof came to.
func (in *input) tell(total Counts) {
	in.unexplained.Set(total.Unexplained)
	in.differing.Set(total.FalseDuplicates)
	in.inFlight.Set(total.InFlight)
	for outcome, n := range total.terms() {
		in.records.Set(n, outcome)
	}
}

// alertRanges bounds what an alert lists; weir reconcile names the rest.
const alertRanges = 20

// alertOf makes the alert of a loss. The same finding has the same ID.
func alertOf(r *Report) event.Alert {
	var about, named []string
	for _, p := range r.Partitions {
		for _, g := range p.Ranges {
			about = append(about, p.Topic, strconv.Itoa(int(p.Partition)), strconv.FormatInt(g.First, 10),
				strconv.FormatInt(g.Last, 10))
			if len(named) < alertRanges {
				named = append(named, fmt.Sprintf("%s/%d offsets %d-%d: %s", p.Topic, p.Partition, g.First, g.Last, g.Reason))
			}
		}
	}
	about = append(about, r.Problems...)
	problems := r.Problems[:min(len(r.Problems), alertRanges)]
	summary := fmt.Sprintf("%d of %d records are in no store", r.Total.Unexplained, r.Total.Accepted)
	switch {
	case r.Total.Unexplained > 0:
	case r.Total.FalseDuplicates > 0:
		summary = fmt.Sprintf("%d of %d records are no duplicates of what they are said to repeat", r.Total.FalseDuplicates,
			r.Total.Accepted)
	default:
		summary = "the stores contradict themselves: " + problems[0]
	}
	return event.Alert{
		ID: event.AlertID(append([]string{ruleUnexplained}, about...)...), Kind: event.KindPipeline, Rule: ruleUnexplained,
		Severity: event.SeverityCritical, Summary: summary + "; run 'weir reconcile' for all of it", At: r.At,
		Details: map[string]any{"unexplained": r.Total.Unexplained, "false_duplicates": r.Total.FalseDuplicates,
			"accepted": r.Total.Accepted, "ranges": named, "problems": problems},
	}
}

func (in *input) release() {
	for _, release := range in.releases {
		release()
	}
	in.releases = nil
}

// Close ends the connections.
func (in *input) Close(context.Context) error {
	if in.reconciler != nil {
		in.reconciler.Close()
	}
	in.release()
	return nil
}

var _ service.Input = (*input)(nil)
