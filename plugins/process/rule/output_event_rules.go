package rule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/kafka"
	"weir/internal/platform/sqldb"
)

const (
	fieldRules    = "rules"
	fieldURL      = "url"
	fieldDelay    = "delay"
	fieldIdle     = "idle"
	fieldAhead    = "max_ahead"
	fieldKeys     = "keys_per_fleet"
	fieldTopics   = "topics"
	fieldPrepare  = "processors"
	fieldBatching = "batching"
)

func eventRulesSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Evaluates rules over windows, patterns and pairs of events, and keeps their results in SQL.").
		Description(`
Rules are the version that was put in force (`+"`weir rules activate`"+`), and until one is a file, which is read again when it changes; one that is wrong
changes nothing, and is said (`+"`docs/rules.md`"+`). Each partition takes other rules up with a batch: from which offset on is written with it. A rule whose window,
conditions, key or values change begins anew, while it is drained as it was; what cannot be drained is dropped, counted and said.

A batch is one transaction: how far each partition was read, what is kept of its keys, and the results. Of keys it writes a journal, and their rows now and then. Only then is it acknowledged. A record that
comes again is known by its offset; one that `+"`event_dedupe`"+` marked is counted as a duplicate and nothing else. What a crash leaves is a whole
number of batches; what comes again makes the same results under the same ids. Batches that come while one is committed are the next transaction together,
up to `+fmt.Sprint(groupMost)+` messages: with `+"`max_in_flight`"+` above 1, which takes an input that has one batch of a partition under way, or gives each its turn, as `+"`log_input`"+` with
`+"`ordered` and `at_once`"+`, nothing waits for a period, and `+"`batching`"+` is not needed. Several processes share the partitions: each commit grows the
version of a partition, and who holds an older one in memory reads it again.

Time is that of the events. A partition that was read to its end and had no record for `+"`idle`"+` goes on with the clock, so that its last windows
are told; while records wait, or the brokers do not answer, it does not.

### Metrics

`+"`weir_rules_events_total{rule, outcome=counted|filtered|late|failed|over_limit}`, `weir_rules_records_total{outcome=read|duplicate|erased|muted|invalid|redelivered|missed}`, `weir_rules_results_total{rule}`, `weir_rules_given_up_total{rule}`"+` (partial matches of a pattern), `+"`weir_rules_dropped_keys_total`"+` (of rules that
changed), and the gauges `+"`weir_rules_valid`"+` (what is to be in force is right) and `+"`weir_rules_up`.").
		Fields(kafka.OptionalFields("Addresses of the brokers of the log that the messages come from. With none, no "+
			"partition "+
			"is idle, and a topic that was made anew is not noticed.")...).
		Field(service.NewStringField(fieldRules).Description("The file of rules, in force until a version is.").
			Example("configs/rules.yaml")).
		Field(service.NewStringListField(fieldTopics).
			Description("The topics that the messages come from, when rules may name topics: a rule that names another, and a "+
				"join of two that have not as many partitions, is refused, and until it is mended messages wait.").
			Default([]any{}).Advanced()).
		Field(service.NewStringField(fieldURL).
			Description("Where state and results are kept: `sqlite://PATH` or `postgres://`, the control store.").
			Secret().Example("sqlite:///var/lib/weir/control.db").Example("postgres://weir:secret@db:5432/weir")).
		Field(service.NewDurationField(fieldDelay).
			Description("How far out of order events normally come: windows are told so long after their end.").Default("5s")).
		Field(service.NewDurationField(fieldIdle).
			Description("A partition that is read to its end and had no record for so long no longer holds its windows back. "+
				"0s: it does for ever.").Default("30s")).
		Field(service.NewDurationField(fieldAhead).
			Description("An event stamped further ahead of its receipt than this counts at its receipt, and moves no time.").
			Default("5m")).
		Field(service.NewIntField(fieldKeys).
			Description("How many keys a fleet may have open in a rule, in one partition. Events of further keys are "+
				"counted as "+
				"over_limit; those of keys that are there, and of other fleets, go on.").
			Default(500_000)).
		Field(service.NewProcessorListField(fieldPrepare).
			Description("What is done with events before rules see them, as long as there is a rule: with none, an event "+
				"costs its reading and nothing more. They may fail events, and drop none.").
			Default([]any{})).
		Field(service.NewBatchPolicyField(fieldBatching)).
		Field(service.NewOutputMaxInFlightField().
			Description("Batches that are under way at once. More than one only with an input that hands out one batch of a "+
				"partition at a time, or gives each its turn: a record that comes before an earlier one of its partition is not "+
				"counted. No fewer than the partitions that are read times the input's `at_once`.").Default(1)).
		Example("From the log", "Each event is claimed, and counted once.", `
output:
  event_rules:
    seed_brokers: ["localhost:9092"]
    rules: configs/rules.yaml
    url: sqlite://data/control.db
    processors:
      - event_dedupe:
          seed_brokers: ["localhost:9092"]
          url: pebble:///var/lib/weir/claims
          on_error: stall
    max_in_flight: 64 # of an input that is ordered
`)
}

// Register adds the components of this package: the input rule_results, the processor rule_try and the output
// event_rules.
func Register(env *service.Environment) error {
	if err := env.RegisterBatchInput("rule_results", ruleResultsSpec(),
		func(parsed *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
			in, err := newResults(parsed, res)
			if err != nil {
				return nil, err
			}
			return service.AutoRetryNacksBatched(in), nil
		}); err != nil {
		return err
	}
	if err := env.RegisterBatchProcessor("rule_try", ruleTrySpec(),
		func(parsed *service.ParsedConfig, _ *service.Resources) (service.BatchProcessor, error) {
			return newTry(parsed)
		}); err != nil {
		return err
	}
	return flow.Store{
		Name: "event_rules", Spec: eventRulesSpec(), Batching: fieldBatching, Is: "store of rules", Up: "weir_rules_up",
		Failures: "weir_rules_store_failures_total",
		New: func(parsed *service.ParsedConfig, res *service.Resources) (service.BatchOutput, error) {
			return newOutput(parsed, res)
		},
	}.Register(env)
}

func newOutput(parsed *service.ParsedConfig, res *service.Resources) (*output, error) {
	o := &output{res: res, log: res.Logger(), places: map[place]*held{}, cleared: map[place]*Set{}, now: time.Now,
		meters: newMeters(res), journalMost: journalMost, rowsEach: rowsEach, buriedSeq: unburied}
	var file string
	var keys int
	if err := conf.Read(parsed, fieldRules, &file, fieldURL, sqldb.URL(&o.url), fieldDelay, conf.NotNegative(&o.delay),
		fieldIdle, conf.NotNegative(&o.idle), fieldAhead, conf.NotNegative(&o.ahead), fieldKeys,
		conf.Positive(&keys), fieldTopics, &o.topics); err != nil {
		return nil, err
	}
	o.topics = topicList(o.topics)
	o.keys = int64(keys)
	cluster, err := kafka.FromParsed(parsed)
	if errors.Is(err, kafka.ErrNoBroker) {
		err = nil
	} else if err == nil {
		o.cluster = &cluster
		o.logs = kafka.NewLogs(cluster, "weir-rules")
	}
	if err == nil {
		err = rightIfThere(file)
	}
	if err = conf.Checked(parsed, err); err != nil {
		return nil, fmt.Errorf("reading event_rules: %w", err)
	}
	if o.rules, err = openFile(file); err != nil {
		return nil, fmt.Errorf("reading event_rules: %w", err)
	}
	o.meters.declare(o.rules.Get())
	o.doubt(o.rules.Get(), "the file of rules")
	o.sayValid()
	if o.prepare, err = parsed.FieldProcessorList(fieldPrepare); err != nil {
		return nil, fmt.Errorf("reading event_rules: %w", err)
	}
	var processors any
	if processors, err = parsed.FieldAny(fieldPrepare); err == nil {
		o.reading, err = readingOf(processors, o.delay, o.ahead)
	}
	if err != nil {
		return nil, fmt.Errorf("reading event_rules: %w", err)
	}
	o.late = flow.NewBurst(time.Minute, func(text string) { o.log.Warnf("%s", text) })
	return o, nil
}

// Connect opens the store and starts the background work: following the file of rules, and, with brokers, closing
// windows of idle partitions and observing the topics.
func (o *output) Connect(ctx context.Context) error {
	o.lock()
	defer o.unlock()
	if o.db != nil {
		return nil
	}
	db, release, err := sqldb.Shared(ctx, o.res, o.url)
	if err != nil {
		return fmt.Errorf("opening the store of rules: %w", err)
	}
	if err := migrate(ctx, db); err != nil {
		release()
		return err
	}
	if o.cluster != nil && o.admin == nil {
		if o.admin, err = o.adminClient(); err != nil {
			release()
			return err
		}
	}
	o.db, o.release, o.bell = db, release, bellOf(db)
	o.bell.with(o, true)
	o.sayValid()
	var tending context.Context
	tending, o.stop = context.WithCancel(context.Background())
	o.tending.Go(func() { o.followFile(tending) })
	if o.idle > 0 && o.admin != nil {
		o.tending.Go(func() { o.tendIdle(tending) })
	}
	if o.logs != nil {
		o.tending.Go(func() { o.tendLogs(tending) })
	}
	if len(o.topics) > 0 && o.admin != nil {
		o.tending.Go(func() { o.tendTopics(tending) })
	}
	return nil
}

func (o *output) adminClient() (*kadm.Client, error) {
	client, err := kgo.NewClient(o.cluster.Options("weir-rules-idle")...)
	if err != nil {
		return nil, fmt.Errorf("opening a client of the log: %w", err)
	}
	return kadm.NewClient(client), nil
}

// Close stops the background work and releases the store. Batches that were not acknowledged are delivered again
// by the log.
func (o *output) Close(ctx context.Context) error {
	if o.stop != nil {
		o.stop()
	}
	o.tending.Wait()
	o.lock()
	defer o.unlock()
	if o.logs != nil {
		o.logs.Close()
	}
	if o.admin != nil {
		o.admin.Close()
		o.admin = nil
	}
	if o.release != nil {
		o.bell.with(o, false)
		o.release()
		o.db, o.release = nil, nil
	}
	var err error
	for _, p := range o.prepare {
		err = errors.Join(err, p.Close(ctx))
	}
	return err
}
