// Package consumer reads topics of the log as a member of a consumer group, for every stream that processes the log.
//
// A crash leaves acknowledged records whose offsets were not committed yet, those of the last second at most. They are
// read again at the same coordinates.
package consumer

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/conf"
	"weir/internal/platform/kafka"
	"weir/internal/platform/trace"
)

const (
	logInputFieldGroup     = "group"
	logInputFieldTopics    = "topics"
	logInputFieldOrdered   = "ordered"
	logInputFieldAtOnce    = "at_once"
	logInputFieldAbreast   = "abreast"
	logInputFieldReadAhead = "read_ahead"
	logInputFieldBatch     = "batch"
	logInputFieldWait      = "wait"
	logInputFieldPeriod    = "period"
	logInputFieldSession   = "session_timeout"
)

func logInputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Reads topics of the log as a consumer group.").
		Description(`
How every stream reads the log, in one place. A partition's offset is committed, once a second, up to the first record that is not acknowledged, so
a stream that ends anywhere reads the rest again. What an output refuses is sent to it again until it takes it. Of transactions only what was
committed is read. A group that has committed nothing begins at the start of the log.

Brokers and login are those of the environment unless a config names others: WEIR_BROKERS, WEIR_KAFKA_TLS, WEIR_KAFKA_CA, WEIR_KAFKA_SASL,
WEIR_KAFKA_USER and WEIR_KAFKA_PASSWORD. With WEIR_KAFKA_RACK, the nearest replica is read, where brokers select by rack.

When a partition goes to another member, what is under way gets `+revokeWait.String()+` to be acknowledged; the rest is the other's.

### Metadata

Each header of a record, and:

- `+"`kafka_topic`"+`
- `+"`kafka_partition`"+`
- `+"`kafka_offset`"+`
- `+"`kafka_timestamp_ms`"+`

### Metrics

`+"`redpanda_lag{topic, partition}`"+`: how many records the whole group is behind, told by every member. Aggregate by `+"`max`"+`.`).
		Field(service.NewStringField(logInputFieldGroup).
			Description("The consumer group; the client has its name, too.")).
		Field(service.NewStringListField(logInputFieldTopics).
			Description("The topics to read.")).
		Field(service.NewBoolField(logInputFieldOrdered).
			Description("Read the records of a partition in order, one batch at a time. Without it, several batches of a "+
				"partition are under way at once. An output that collects batches of its own would wait for each.").
			Default(false)).
		Field(service.NewIntField(logInputFieldAtOnce).
			Description("In order, how many batches of a partition are under way at once while it is far behind, so that one "+
				"is read and prepared while another is written. More than one takes an output that gives each its turn, as "+
				"`event_rules` does, without `batching`, and one alone: with others, records come out of order. Of an event "+
				"that came twice, within these batches, either copy may be the one that counts.").
			Default(1).Advanced()).
		Field(service.NewDurationField(logInputFieldAbreast).
			Description("With several topics, how far a partition may be read ahead of the partitions of the same number that "+
				"this process has, by the times at which records were written to the log, so that in a backlog no topic is read "+
				"far ahead of another. It waits only for partitions in which records are known to wait, or came within the last "+
				"seconds. 0s: no limit.").
			Default("0s").Advanced()).
		Field(service.NewIntField(logInputFieldReadAhead).
			Description("Records of a partition that are read ahead of the last commit, where order does not matter. Memory is "+
				"bounded by it, some 3 KB each, and by 64 MiB of records a partition.").
			Default(100000)).
		Field(service.NewIntField(logInputFieldBatch).
			Description("Records in a batch at most, where order does not matter.").
			Default(5000)).
		Field(service.NewDurationField(logInputFieldWait).
			Description("The time between fetches while records come, and for which a batch waits for its next record: a few "+
				"large batches cost less than many small ones.").
			Default("100ms")).
		Field(service.NewDurationField(logInputFieldPeriod).
			Description("For how long the stream's output gathers a batch, as its `batching` says. Each commit tells it, so "+
				"that gates know what waits there from what is behind (`weir_gate_group_behind_seconds`).").
			Default("0s")).
		Field(service.NewDurationField(logInputFieldSession).
			Description("The time after which the partitions of a process that was killed go to another.").
			Default("20s")).
		Fields(kafka.StreamFields()...).
		Example("A stream of your own", "A group of its own reads every event, from brokers of its own.", `
input:
  log_input:
    seed_brokers: [ "localhost:9092" ]
    group: my-events
    topics: [ raw-events, replay-events ]
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterBatchInput("log_input", logInputSpec(),
		func(parsed *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
			in, err := newInput(parsed, res)
			if err != nil {
				return nil, err
			}
			return in, nil
		})
}

// config is a log_input's, read.
type config struct {
	group   string
	topics  []string
	wait    time.Duration // between fetches
	answer  time.Duration // how soon brokers answer a fetch when they have records
	abreast time.Duration // how far partitions of the same number may be apart, by time of writing; 0: no limit
	session time.Duration
	note    string // of each commit
	limits  limits
}

// Limits without a config field.
const (
	fetchLarge       = 256 << 10   // bytes of a fetch from which its cost is small for each record
	fetchWait        = time.Second // the longest time of a fetch, and how long a paused partition waits for others
	answerWait       = 3 * time.Millisecond
	orderedBatch     = 1_000_000
	orderedAhead     = 8_000_000
	unorderedBatch   = 16 << 20
	unorderedAhead   = 64 << 20
	metadataMost     = time.Minute      // how long a new partition may stay unknown
	rebalanceTimeout = 45 * time.Second // how long a member may take to give a partition back
)

func newInput(parsed *service.ParsedConfig, res *service.Resources) (*input, error) {
	c, err := configFromParsed(parsed)
	cluster, cerr := kafka.FromStream(parsed)
	switch {
	case errors.Is(cerr, kafka.ErrNoBroker) && !conf.Files(parsed):
		cerr = nil // the linter says so
	case errors.Is(cerr, kafka.ErrNoBroker):
		cerr = fmt.Errorf("%w: set %s", cerr, kafka.EnvBrokers)
	}
	if err := conf.Checked(parsed, errors.Join(err, cerr)); err != nil {
		return nil, err
	}
	return &input{config: c, cluster: cluster, log: res.Logger(), trace: trace.Of(res),
		lag: res.Metrics().NewGauge("redpanda_lag", "topic", "partition").Set}, nil
}

func configFromParsed(parsed *service.ParsedConfig) (config, error) {
	var c config
	var topics []string
	var ahead, batch int
	var period time.Duration
	if err := conf.Read(parsed, logInputFieldGroup, &c.group, logInputFieldTopics, &topics,
		logInputFieldOrdered, &c.limits.ordered, logInputFieldAtOnce, conf.Positive(&c.limits.atOnce),
		logInputFieldAbreast, conf.NotNegative(&c.abreast), logInputFieldReadAhead, conf.Positive(&ahead),
		logInputFieldBatch, conf.Positive(&batch), logInputFieldWait, conf.Positive(&c.wait),
		logInputFieldPeriod, conf.NotNegative(&period), logInputFieldSession, conf.Positive(&c.session)); err != nil {
		return c, err
	}
	c.note, c.answer = kafka.CommitNote(period), answerWait
	for _, item := range topics {
		for topic := range strings.SplitSeq(item, ",") {
			if topic = strings.TrimSpace(topic); topic != "" {
				c.topics = append(c.topics, topic)
			}
		}
	}
	switch {
	case c.group == "":
		return c, fmt.Errorf("reading field %s: it is empty", logInputFieldGroup)
	case len(c.topics) == 0:
		return c, fmt.Errorf("reading field %s: it names no topic", logInputFieldTopics)
	case c.limits.atOnce > 1 && !c.limits.ordered:
		return c, fmt.Errorf("reading field %s: more than one is for a log that is read in order: set %s",
			logInputFieldAtOnce, logInputFieldOrdered)
	}
	c.limits.wait = c.wait
	if c.limits.ordered {
		c.limits.batchBytes, c.limits.aheadBytes = orderedBatch, orderedAhead
	} else {
		c.limits.batchRecords, c.limits.aheadRecords = batch, ahead
		c.limits.batchBytes, c.limits.aheadBytes = unorderedBatch, unorderedAhead
	}
	if err := kgo.ValidateOpts(c.options()...); err != nil {
		return c, fmt.Errorf("reading log_input: %w", err)
	}
	return c, nil
}

// options returns the options of the client, except the address of the log and the callbacks for assignments. How
// members share partitions stays the client's default: all members of a group must agree on it, and earlier versions
// of weir use the default. Fetches name their few partitions (no fetch sessions): the embedded broker answers those
// from memory.
func (c config) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumerGroup(c.group), kgo.ConsumeTopics(c.topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMinBytes(1), kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxPartitionBytes(1 << 20), kgo.FetchMaxBytes(50 << 20), kgo.DisableFetchSessions(),
		kgo.SessionTimeout(c.session), kgo.RebalanceTimeout(rebalanceTimeout), kgo.MetadataMaxAge(metadataMost),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
	}
}
