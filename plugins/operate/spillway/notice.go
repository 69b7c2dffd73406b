package spillway

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

func commitError(resp *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

type groupPartition struct {
	group string
	partition
}

// Rule names of the spillway's alerts.
const (
	ruleSpilled = "spillway_spilled"
	ruleGap     = "spillway_gap"
)

// episode is how long spilling for the same reason is reported only once.
const episode = time.Hour

// unknown logs, once, that a group has never existed, when the second look does not find it: at the
// first one, streams that start together have not all joined.
func (in *input) unknown(group string) {
	if in.absent[group]++; in.absent[group] == 2 {
		in.log.Warnf("consumer group %s has never committed and has no members: its records are not held for it. Start "+
			"its stream, or take it off the spillway's list", group)
	}
}

func (in *input) known(group string) { delete(in.absent, group) }

// noteGaps reports each lost record once for each group.
func (in *input) noteGaps(p partition, at *position, now time.Time) {
	for group, gap := range at.gaps() {
		key := groupPartition{group, p}
		gap.first = max(gap.first, in.reported[key])
		if gap.len() == 0 {
			continue
		}
		in.reported[key] = gap.limit
		in.noteGap(p, group, gap, "the log deleted them before the group processed them, and before they could be "+
			"dead-lettered", now)
	}
}

func (in *input) noteGap(p partition, group string, gap run, why string, now time.Time) {
	in.gaps.Incr(gap.len(), group)
	in.log.Errorf("group %s has lost %d records of %s/%d, offsets %d to %d: %s", group, gap.len(), p.topic, p.n, gap.first,
		gap.limit-1, why)
	in.say(event.Alert{
		ID:   event.AlertID(ruleGap, group, p.topic, strconv.Itoa(int(p.n)), strconv.FormatInt(gap.first, 10)),
		Kind: event.KindPipeline, Rule: ruleGap, Severity: event.SeverityCritical, At: now,
		Summary: fmt.Sprintf("%d records of %s/%d are lost to group %s: %s", gap.len(), p.topic, p.n, group, why),
		Details: map[string]any{
			"group": group, "topic": p.topic, "partition": p.n,
			"first_offset": gap.first, "last_offset": gap.limit - 1, "records": gap.len(),
		},
	})
}

// lookForHoles reports the offsets of a chunk that have no record: they were deleted after the
// look, or removed by compaction. Records of aborted transactions are no holes.
func (in *input) lookForHoles(ctx context.Context, c chunk) error {
	next := c.first
	hole := func(limit int64) error {
		gap := run{next, limit}
		if gap.len() == 0 {
			return nil
		}
		groups := c.at.missedBy(limit - 1)
		if len(groups) == 0 {
			return nil
		}
		if there, err := in.holds(ctx, c.p, gap); err != nil || there {
			return err
		}
		for _, group := range groups {
			in.noteGap(c.p, group, gap, "the log holds no records there", in.now())
		}
		return nil
	}
	for _, r := range c.records {
		if err := hole(r.Offset); err != nil {
			return err
		}
		next = r.Offset + 1
	}
	return hole(c.next)
}

// whole tells whether the log has a record or a marker at each offset of a run, also of aborted
// transactions.
func whole(ctx context.Context, log kafka.Cluster, clientID string, p partition, r run) (bool, error) {
	records, markers, _, err := log.Look(ctx, clientID, kafka.Stretch{Topic: p.topic, Partition: p.n, First: r.first,
		Limit: r.limit}, kgo.ReadUncommitted())
	return records+markers == r.len(), err
}

// spillKey identifies an alert about spilling.
type spillKey struct {
	topic, group string
	reason       event.Code
}

// noteSpill queues alerts about what is going to be dead-lettered.
func (in *input) noteSpill(due map[partition]*position, now time.Time) {
	records := map[spillKey]int64{}
	partitions := map[spillKey][]int32{}
	note := func(key spillKey, p partition, r run) {
		if r.len() > 0 {
			records[key] += r.len()
			partitions[key] = append(partitions[key], p.n)
		}
	}
	for p, at := range due {
		r := at.due()
		for group, next := range at.committed {
			first := max(r.first, next)
			note(spillKey{p.topic, group, event.CodeExpired}, p, run{first, min(r.limit, at.expiring)})
			note(spillKey{p.topic, group, event.CodeOverflow}, p, run{max(first, at.expiring), r.limit})
		}
	}
	for key, n := range records {
		slices.Sort(partitions[key])
		why := "they are about to expire from the log"
		if key.reason == event.CodeOverflow {
			why = "it lags by more than the depth allowed"
		}
		hour := now.UTC().Truncate(episode)
		in.say(event.Alert{
			ID:   event.AlertID(ruleSpilled, key.topic, key.group, string(key.reason), hour.Format(time.RFC3339)),
			Kind: event.KindPipeline, Rule: ruleSpilled, Severity: event.SeverityCritical, At: now,
			Summary: fmt.Sprintf("%d records of %s that group %s has not processed go to the dead letters: %s", n, key.topic,
				key.group, why),
			Details: map[string]any{
				"group": key.group, "topic": key.topic, "partitions": partitions[key],
				"records": n, "reason": string(key.reason),
			},
		})
	}
}

// say queues an alert, unless one with its ID was queued before.
func (in *input) say(a event.Alert) {
	for id, at := range in.said {
		if a.At.Sub(at) > 2*episode {
			delete(in.said, id)
		}
	}
	if _, said := in.said[a.ID]; said {
		return
	}
	in.said[a.ID] = a.At
	in.pending = append(in.pending, a)
}

func (in *input) alerts() (service.MessageBatch, func(context.Context) error, error) {
	var batch service.MessageBatch
	for _, a := range in.pending {
		msg, err := a.Message()
		if err != nil {
			return nil, nil, fmt.Errorf("writing alert %s: %w", a.Rule, err)
		}
		batch = append(batch, msg)
	}
	in.pending = nil
	return batch, func(context.Context) error { return nil }, nil
}
