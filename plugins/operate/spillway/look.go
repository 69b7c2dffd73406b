package spillway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir/internal/platform/kafka"
)

// partition is one partition of a topic.
type partition struct {
	topic string
	n     int32
}

// look asks the log where everybody stands in the partitions that are mine. A
// topic that does not exist has none.
func (in *input) look(ctx context.Context, now time.Time, mine map[partition]bool) (map[partition]*position, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	committed, err := in.committed(ctx)
	if err != nil {
		return nil, err
	}
	var topics []string
	for p := range mine {
		if !slices.Contains(topics, p.topic) {
			topics = append(topics, p.topic)
		}
	}
	if err := in.recognise(ctx, topics); err != nil {
		return nil, err
	}
	positions := kafka.Positions{Admin: in.admin}
	starts, err := positions.Starts(ctx, topics...)
	if err != nil {
		return nil, err
	}
	ends, err := positions.StableEnds(ctx, topics...) // what is in an open transaction is not there yet
	if err != nil {
		return nil, err
	}
	found := map[partition]*position{}
	for listed, start := range starts {
		p := partition{listed.Topic, listed.Number}
		end, ok := ends[listed]
		if !ok || !mine[p] {
			continue
		}
		at := &position{start: start, end: end, committed: map[string]int64{}}
		for group, offsets := range committed {
			if next, ok := offsets[listed]; ok {
				at.committed[group] = next
			} else if group != in.own { // it has members, or a commit elsewhere: it has processed nothing here
				at.committed[group] = start
			}
		}
		at.spilled = at.committed[in.own]
		delete(at.committed, in.own)
		if in.maxDepth > 0 {
			at.deep = end - in.maxDepth
		}
		found[p] = at
	}
	return found, in.expiring(ctx, now, topics, found)
}

// recognise forgets how far topics went that were made anew since the last look:
// the same offsets are other records now, and have not been through here.
func (in *input) recognise(ctx context.Context, topics []string) error {
	now, err := in.logs.Of(ctx, time.Now(), topics...)
	if err != nil {
		return err
	}
	for i, topic := range topics {
		if before := in.identity[topic]; before != 0 && before != now[i] {
			in.log.Warnf("topic %s was made anew: what went through the spillway of the old one counts no more", topic)
			maps.DeleteFunc(in.passed, func(p partition, _ int64) bool { return p.topic == topic })
			maps.DeleteFunc(in.reported, func(k groupPartition, _ int64) bool { return k.topic == topic })
		}
		in.identity[topic] = now[i]
	}
	return nil
}

// committed reads what each group has committed. A group that never was is
// left out: it cannot miss anything yet.
func (in *input) committed(ctx context.Context) (map[string]map[kafka.Partition]int64, error) {
	out := map[string]map[kafka.Partition]int64{in.own: {}}
	described, err := in.admin.DescribeGroups(ctx, in.groups...)
	if err != nil {
		return nil, fmt.Errorf("describing the groups: %w", err)
	}
	for _, group := range append([]string{in.own}, in.groups...) {
		by, err := kafka.Positions{Admin: in.admin}.Committed(ctx, group)
		if err != nil {
			return nil, err
		}
		if d := described[group]; group == in.own || len(by) > 0 || len(d.Members) > 0 {
			out[group] = by
			in.known(group)
		} else {
			in.unknown(group)
		}
	}
	return out, nil
}

// expiring finds, by each topic's retention, the first records that stay.
func (in *input) expiring(ctx context.Context, now time.Time, topics []string, found map[partition]*position) error {
	configs, err := in.admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return fmt.Errorf("reading the topics' retention: %w", err)
	}
	for _, topic := range topics {
		c, err := configs.On(topic, nil)
		if err == nil {
			err = c.Err
		}
		if err != nil {
			return fmt.Errorf("reading the retention of topic %s: %w", topic, err)
		}
		retention, ok := retentionOf(c)
		if !ok {
			continue // kept for ever
		}
		stay, err := kafka.Positions{Admin: in.admin}.After(ctx, horizon(now, retention, in.margin), topic)
		if err != nil {
			return fmt.Errorf("finding what expires: %w", err)
		}
		for p, offset := range stay {
			if at := found[partition{p.Topic, p.Number}]; at != nil {
				at.expiring = min(offset, at.end) // -1 in an empty partition
			}
		}
	}
	return nil
}

func retentionOf(c kadm.ResourceConfig) (time.Duration, bool) {
	for _, kv := range c.Configs {
		if kv.Key == "retention.ms" && kv.Value != nil {
			ms, err := strconv.ParseInt(*kv.Value, 10, 64)
			return time.Duration(ms) * time.Millisecond, err == nil && ms > 0
		}
	}
	return 0, false
}
