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
	"weir/internal/platform/heap"
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
The rules are those of the active version (`+"`weir rules activate`"+`). Until a version is active they are those of a file, which is read again when it changes; a file that
is wrong changes nothing, and the log says what is wrong (`+"`docs/rules.md`"+`). Each partition takes other rules up with a batch, and the offset from which they apply is written with it. A rule whose window,
conditions, key or values change begins anew, while its old form is drained: it still emits the windows that began before. State that cannot be drained is dropped, counted and logged.

A batch is one transaction with the position of each partition, the state of its keys, and the results. The state goes into a journal; rows of keys are written some at a time. The batch is acknowledged after the commit. A record that
is delivered again is recognised by its offset; one that `+"`event_dedupe`"+` marked is counted as a duplicate and nothing else. A crash leaves a whole
number of batches, and records that are delivered again have the same results under the same ids. Batches that arrive while another is committed share the next transaction,
up to `+fmt.Sprint(groupMost)+` messages. For that, set `+"`max_in_flight`"+` above 1, with an input that hands out one batch of a partition at a time, or gives each its turn, as `+"`log_input`"+` with
`+"`ordered` and `at_once`"+`: then no batch waits for a period, and `+"`batching`"+` is not needed. Several processes share the partitions: each commit increases the
version of a partition, and a process that has an older one in memory reads it again.

Time is that of the events. If a partition was read to its end and had no record for `+"`idle`"+`, its time moves on with the clock, so that its last windows
close. While records wait, or the brokers do not answer, it does not.

### Metrics

`+"`weir_rules_events_total{rule, outcome=counted|filtered|late|failed|over_limit}`, `weir_rules_records_total{outcome=read|duplicate|erased|muted|invalid|redelivered|missed}`, `weir_rules_results_total{rule}`, `weir_rules_given_up_total{rule}`"+` (partial matches of a pattern), `+"`weir_rules_dropped_keys_total`"+` (of rules that
changed), and the gauges `+"`weir_rules_valid`"+` (1 if the rules that should be in force can be read) and `+"`weir_rules_up`.").
		Fields(kafka.OptionalFields("Addresses of the brokers of the log that the messages come from. Without them, the "+
			"time of idle partitions does not move on, and a topic that was made anew is not noticed.")...).
		Field(service.NewStringField(fieldRules).Description("The file of rules, in force until a version is activated.").
			Example("configs/rules.yaml")).
		Field(service.NewStringListField(fieldTopics).
			Description("The topics that the messages come from, if rules name topics. A rule that names another topic, and a "+
				"join of two with different numbers of partitions, are refused; if such rules are in force, messages wait until "+
				"that is corrected.").
			Default([]any{}).Advanced()).
		Field(service.NewStringField(fieldURL).
			Description("The SQL store of state and results, which is the control store: `sqlite://PATH` or `postgres://…`.").
			Secret().Example("sqlite:///var/lib/weir/control.db").Example("postgres://weir:secret@db:5432/weir")).
		Field(service.NewDurationField(fieldDelay).
			Description("How far out of order events normally come. Windows close this long after their end.").Default("5s")).
		Field(service.NewDurationField(fieldIdle).
			Description("After this time without a record, the time of a partition that was read to its end moves on with the "+
				"clock. 0s: never.").Default("30s")).
		Field(service.NewDurationField(fieldAhead).
			Description("An event that is stamped further ahead of its receipt than this counts at the time of its receipt.").
			Default("5m")).
		Field(service.NewIntField(fieldKeys).
			Description("How many keys a fleet may have open in a rule, in one partition. Events of further keys have the "+
				"outcome over_limit; events of open keys, and of other fleets, are counted as before.").
			Default(500_000)).
		Field(service.NewProcessorListField(fieldPrepare).
			Description("The processors of events before rules see them. They run only while there are rules. They may fail "+
				"events, and must not drop any.").
			Default([]any{})).
		Field(service.NewBatchPolicyField(fieldBatching)).
		Field(service.NewOutputMaxInFlightField().
			Description("How many batches may be under way at once. Set more than one only with an input that hands out one "+
				"batch of a partition at a time, or gives each its turn: a record that comes after a later one of its partition "+
				"is not counted. Then set at least the number of partitions times `at_once` of the input.").Default(1)).
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
		meters: newMeters(res), journalMost: journalMost * heap.Times(journalTimes), rowsEach: rowsEach, buriedSeq: unburied}
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
