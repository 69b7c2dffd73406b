package overview

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

// lagHorizon is the largest lag reported: it means "at least".
const lagHorizon = 24 * time.Hour

// consumer is a consumer group and its topics.
type consumer struct {
	group, target string
	topics        []string
}

// consumers returns the consumer groups of a log, including that of its dead letters.
func consumers(log event.Log) (all []consumer) {
	for _, c := range log.Consumers {
		all = append(all, consumer{c.Group, c.Target, log.Topics})
	}
	return append(all, consumer{log.GroupDeadLetter, "dead_letter", []string{log.DeadLetters}})
}

// logMeter measures the lag of consumer groups. It must not be used concurrently.
type logMeter struct {
	cluster kafka.Cluster
	topics  []string // all topics of groups
	groups  []consumer
	client  *kgo.Client
	history *kafka.History // nil: not seeded yet
}

func newLogMeter(cluster kafka.Cluster, log event.Log) (*logMeter, error) {
	client, err := kgo.NewClient(cluster.Options("weir-overview")...)
	if err != nil {
		return nil, err
	}
	return &logMeter{cluster: cluster, topics: append(slices.Clone(log.Topics), log.DeadLetters),
		groups: consumers(log), client: client}, nil
}

// logState is a measurement of the groups.
type logState struct {
	groups    []Group
	failed    map[string]string // groups whose positions could not be read
	lastEvent *time.Time
}

func (m *logMeter) measure(ctx context.Context) (s logState, err error) {
	s, err = m.look(ctx)
	return s, m.cluster.Explain(err)
}

func (m *logMeter) look(ctx context.Context) (s logState, err error) {
	admin := kadm.NewClient(m.client)
	positions := kafka.Positions{Admin: admin}
	committed := make([]map[kafka.Partition]int64, len(m.groups))
	s.failed = map[string]string{}
	for i, g := range m.groups { // read before the ends, so that no group appears ahead of the log
		if committed[i], err = positions.Committed(ctx, g.group); err != nil {
			s.failed[g.group] = "the log does not tell how far the group is"
			committed[i] = nil
		}
	}
	if len(s.failed) == len(m.groups) {
		return s, err
	}
	starts, err := positions.Starts(ctx, m.topics...)
	if err != nil {
		return s, err
	}
	ends, err := positions.Ends(ctx, m.topics...)
	if err != nil {
		return s, err
	}
	now := time.Now()
	if m.history == nil {
		history := kafka.NewHistory(lagHorizon)
		if err := history.Seed(ctx, now, positions, m.topics...); err != nil {
			return s, err
		}
		m.history = history
	}
	m.history.Note(now, ends)
	for i, g := range m.groups {
		s.groups = append(s.groups, m.behind(g, now, starts, ends, committed[i]))
	}
	s.lastEvent, err = lastEvent(ctx, admin, m.groups[0].topics)
	return s, err
}

// behind computes the lag of one group; committed is nil when it could not be read.
func (m *logMeter) behind(g consumer, now time.Time, starts, ends, committed map[kafka.Partition]int64) Group {
	out := Group{Group: g.group, Target: g.target, Never: []string{}}
	if committed == nil {
		return out
	}
	var records int64
	var lag time.Duration
	for p, end := range ends {
		if !slices.Contains(g.topics, p.Topic) {
			continue
		}
		at, known := committed[p]
		from := max(at, starts[p]) // records that the log dropped cannot be processed
		if from >= end {
			continue
		}
		if !known {
			out.Never = append(out.Never, p.String())
		}
		records += end - from
		lag = max(lag, m.history.Age(now, p, from))
	}
	slices.Sort(out.Never)
	waits := seconds(lag)
	out.Records, out.Lag = &records, &waits
	return out
}

// lastEvent returns when the newest record of the topics was written; nil when they are empty.
func lastEvent(ctx context.Context, admin *kadm.Client, topics []string) (at *time.Time, err error) {
	listed, err := admin.ListMaxTimestampOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			err = errors.Join(err, o.Err)
			return
		}
		if t := time.UnixMilli(o.Timestamp).UTC(); o.Timestamp > 0 && (at == nil || t.After(*at)) {
			at = &t
		}
	})
	return at, err
}

func (m *logMeter) close() { m.client.Close() }
