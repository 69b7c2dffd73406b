// Package spillway keeps the log's retention from deleting what was never processed: the input
// spillway reads records shortly before they are deleted, and dead-letters those that some consumer
// group has not reached.
//
// After a crash, records may come again that were already written as dead letters. They have the
// same coordinates, and so the same dead letter ids, by which the dead letter store recognizes
// them.
package spillway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/kafka"
	"weir/internal/platform/meter"
)

const (
	spillwayFieldClientID = "client_id"
	spillwayFieldTopics   = "topics"
	spillwayFieldGroups   = "groups"
	spillwayFieldOwn      = "consumer_group"
	spillwayFieldMargin   = "margin"
	spillwayFieldDepth    = "max_depth"
	spillwayFieldInterval = "interval"
)

func inputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Reads the records that are about to leave the log without some consumer group having processed them.").
		Description(`
Kafka deletes what is older than a topic's retention, silently. This input looks, at every `+"`interval`"+`, where each of `+"`groups`"+` stands, and
emits what a group has not processed and what is within `+"`margin`"+` of its end (code `+"`expired`"+`), or more than `+"`max_depth`"+` records behind the
head of its partition (code `+"`overflow`"+`): the oldest first, with the record's own headers, its coordinates, and an error that names the groups.
The stream's output writes these messages as dead letters. Each record comes once: how far the input has come is committed to `+"`consumer_group`"+`
after the dead letters are written. Several instances share the partitions.

A group that was only slow may still process a record that has been dead-lettered. The event is then in the stores *and* in the
dead letters. That is safe: the proof counts it as stored, and a redrive carries the first coordinates, by which every stage knows it.

Offsets that a group never reached and that are gone already - the spillway was down, or the retention was cut - are a gap. They are lost to
that group; the gap is counted, and raises an alert.

A group counts once it has members or has committed anything; one that never existed cannot miss a record. Only time retention is watched: a topic that
is limited by bytes needs a `+"`max_depth`"+` below that limit.

### Alerts

Beside the records come alerts, with metadata `+"`local_alert`"+` set to `+"`1`"+`, for the topic `+"`alert-events`"+`: `+"`spillway_spilled`"+`, at most once an hour for each topic, group and
reason, and `+"`spillway_gap`"+` for each gap.

### Metrics

`+"`weir_spillway_spilled_total{reason}`, `weir_spillway_gap_records_total{group}`.").
		Fields(kafka.Fields()...).
		Field(service.NewStringField(spillwayFieldClientID).
			Description("How the client names itself to the brokers.").Default("weir-spillway").Advanced()).
		Field(service.NewStringListField(spillwayFieldTopics).
			Description("The topics that are watched.").Default([]any{"raw-events", "replay-events"})).
		Field(service.NewStringListField(spillwayFieldGroups).
			Description("The consumer groups that must have processed a record before it may go. A record of a replay that "+
				"is meant for some stages only (`weir_target`) counts for the groups of these stages: weir's, and "+
				"`GROUP=TARGET` of your own; a group without a target needs every record.").
			Default(event.Groups())).
		Field(service.NewStringField(spillwayFieldOwn).
			Description("The consumer group under which the spillway's own progress is committed. Its lag means "+
				"nothing.").Default("weir-spillway").Advanced()).
		Field(service.NewDurationField(spillwayFieldMargin).
			Description("How long before a record expires it is dead-lettered. At most half of the topic's retention is "+
				"used.").Default("30m")).
		Field(service.NewIntField(spillwayFieldDepth).
			Description("How many records a group may lag behind in a partition before the oldest are dead-lettered; 0 is no "+
				"bound.").Default(0)).
		Field(service.NewDurationField(spillwayFieldInterval).
			Description("How often the input looks. Keep it well below the margin.").Default("10s")).
		Example("The spillway stream", "Records become dead letters, alerts go to their topic.", `
input:
  label: spillway
  spillway:
    seed_brokers: ["localhost:9092"]
    margin: 30m

output:
  switch:
    cases:
      - check: '@local_alert == "1"'
        output:
          kafka_franz:
            seed_brokers: ["localhost:9092"]
            topic: alert-events
            key: ${! json("alert_id") }
      - output:
          kafka_franz:
            seed_brokers: ["localhost:9092"]
            topic: dead-letter
            key: ${! @local_device }
            metadata:
              include_prefixes: [weir_, traceparent]
`)
}

// Register registers the components of this package.
func Register(env *service.Environment) error {
	return env.RegisterBatchInput("spillway", inputSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
			in, err := newInput(conf, res)
			if err != nil {
				return nil, err
			}
			return service.AutoRetryNacksBatched(in), nil
		})
}

type input struct {
	cluster  kafka.Cluster
	clientID string
	topics   []string
	groups   []string
	targets  map[string]string // group -> its replay target
	own      string
	margin   time.Duration
	maxDepth int64
	interval time.Duration
	log      *service.Logger
	now      func() time.Time
	holds    func(context.Context, partition, run) (bool, error) // no gap in the log; see whole

	spilled *service.MetricCounter
	gaps    *service.MetricCounter

	turn   chan struct{} // held from the read of a batch to its acknowledgment
	member *kgo.Client   // of the group own; nil until Connect
	admin  *kadm.Client
	mu     sync.Mutex
	mine   map[partition]bool // partitions assigned to this process

	// The fields below may be used only while holding turn.
	reader   *reader
	spilling map[partition]*position                                    // due in this cycle, and not reported yet
	next     func() (service.MessageBatch, func(context.Context) error) // follows the pending alerts
	looked   time.Time
	passed   map[partition]int64 // first offset not handled, as committed to own, or about to be
	reported map[groupPartition]int64
	said     map[string]time.Time // alert ID -> when it was sent
	pending  []event.Alert
	absent   map[string]int // groups that never existed -> consecutive looks that did not find them
	logs     *kafka.Logs
	identity map[string]kafka.Log // topic -> its identity at the last look
}

func newInput(parsed *service.ParsedConfig, res *service.Resources) (*input, error) {
	in := &input{
		log: res.Logger(), now: time.Now,
		spilled: meter.Counters(res.Metrics(), "weir_spillway_spilled_total", "reason",
			string(event.CodeExpired), string(event.CodeOverflow)),
		gaps: res.Metrics().NewCounter("weir_spillway_gap_records_total", "group"),
		turn: make(chan struct{}, 1), mine: map[partition]bool{}, passed: map[partition]int64{},
		reported: map[groupPartition]int64{}, said: map[string]time.Time{}, absent: map[string]int{},
		identity: map[string]kafka.Log{},
	}
	var err error
	if in.cluster, err = kafka.FromParsed(parsed); err != nil {
		return nil, fmt.Errorf("reading spillway: %w", err)
	}
	in.holds = func(ctx context.Context, p partition, r run) (bool, error) {
		return whole(ctx, in.cluster, in.clientID, p, r)
	}
	var list []string
	if err := conf.Read(parsed, spillwayFieldClientID, &in.clientID, spillwayFieldTopics, &in.topics, spillwayFieldGroups,
		&list,
		spillwayFieldOwn, &in.own, spillwayFieldMargin, conf.Positive(&in.margin),
		spillwayFieldDepth, conf.NotNegative(&in.maxDepth),
		spillwayFieldInterval, conf.Positive(&in.interval)); err != nil {
		return nil, err
	}
	consumers, err := event.ParseConsumers(list)
	if err != nil {
		return nil, fmt.Errorf("reading spillway: %w", err)
	}
	in.targets = map[string]string{}
	for _, c := range consumers {
		in.groups, in.targets[c.Group] = append(in.groups, c.Group), c.Target
		in.gaps.Incr(0, c.Group)
	}
	switch {
	case len(in.topics) == 0 || len(in.groups) == 0:
		return nil, fmt.Errorf("reading spillway: name at least one topic and one group")
	case slices.Contains(in.groups, in.own):
		return nil, fmt.Errorf("reading spillway: group %q cannot both process records and be the spillway's own", in.own)
	case in.margin < 2*in.interval:
		return nil, fmt.Errorf("reading spillway: the margin %s must be at least twice the interval %s", in.margin,
			in.interval)
	}
	return in, conf.Checked(parsed, nil)
}

// Connect joins the spillway's own group, which divides the partitions among the instances. It
// fetches no records through that client.
func (in *input) Connect(ctx context.Context) error {
	if in.member != nil {
		return nil
	}
	client, err := kgo.NewClient(append(in.cluster.Options(in.clientID),
		kgo.ConsumerGroup(in.own), kgo.ConsumeTopics(in.topics...), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { in.assign(ps, true) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { in.assign(ps, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { in.assign(ps, false) }),
	)...)
	if err != nil {
		return fmt.Errorf("connecting to the log: %w", err)
	}
	client.PauseFetchTopics(in.topics...)
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return fmt.Errorf("connecting to the log: %w", in.cluster.Explain(err))
	}
	in.member, in.admin, in.logs = client, kadm.NewClient(client), kafka.NewLogs(in.cluster, in.clientID)
	return nil
}

func (in *input) assign(ps map[string][]int32, mine bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for topic, numbers := range ps {
		for _, n := range numbers {
			if p := (partition{topic, n}); mine {
				in.mine[p] = true
			} else {
				delete(in.mine, p)
			}
		}
	}
}

func (in *input) assigned() map[partition]bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return maps.Clone(in.mine)
}

const closeMost = 5 * time.Second

// Close stops reading. It waits at most closeMost for the acknowledgment of a batch in progress: what
// is not acknowledged by then comes again.
func (in *input) Close(ctx context.Context) error {
	select {
	case in.turn <- struct{}{}:
		if in.reader != nil {
			in.reader.close()
			in.reader = nil
		}
	case <-ctx.Done():
	case <-time.After(closeMost): // the stream may have dropped a batch without an acknowledgment
	}
	if in.member != nil {
		in.member.Close()
		in.logs.Close()
	}
	return nil
}

var _ service.BatchInput = (*input)(nil)
