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

// look reads the positions of the log and the groups in the partitions of this process. A topic
// that does not exist has no partitions.
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
	ends, err := positions.StableEnds(ctx, topics...) // records of open transactions are not included
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
			} else if group != in.own { // the group exists, but has processed nothing in this partition
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

// recognise forgets the progress in topics that were deleted and created again since the last look:
// their offsets now belong to other records.
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

// committed returns the committed offsets of each group. A group that never existed is left out: it
// cannot have missed anything.
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

// expiring sets at.expiring of each partition, by the retention of its topic.
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
				at.expiring = min(offset, at.end) // After returns -1 for an empty partition
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
