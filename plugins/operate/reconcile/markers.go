package reconcile

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/plugins/store/lake"
)

// tailMost bounds the records in flight of a partition that are checked for markers: if a group has fewer left, it may
// have reached the end, and only markers remain.
const tailMost = 1000

// findMarkers finds which of the unexplained offsets, and of the last ones in flight, have no event. found reports
// whether there are any.
func (r *round) findMarkers(ctx context.Context) (found bool, err error) {
	for p, f := range r.found {
		set := f.unexplained.Minus(r.present[p])
		if f.inFlight.Count() <= tailMost && !r.glance {
			set = set.Union(f.inFlight)
		}
		now := r.now[p]
		set = set.And(lake.NewOffsets(lake.Span{First: now.start, Last: now.stable - 1})).Minus(r.probed[p])
		if set.Count() == 0 || set.Count() > readMost { // so many are not only markers: examine reads them piece by piece
			continue
		}
		empty, err := r.a.withoutEvents(ctx, p, set)
		if err != nil {
			return false, err
		}
		r.probed[p] = r.probed[p].Union(set)
		if empty.Count() > 0 {
			r.a.markers[p], found = r.a.markers[p].Union(empty), true
		}
	}
	return found, nil
}

// withoutEvents returns which of some offsets before the first open transaction have no event, for a known reason: a
// marker of a transaction, a record of an aborted one, or compaction. Records that the log has lost are not among
// them.
func (a *Reconciler) withoutEvents(ctx context.Context, p lake.Partition, set lake.Offsets) (lake.Offsets, error) {
	var events, markers, aborted lake.Offsets
	err := a.scan(ctx, map[lake.Partition]lake.Offsets{p: set}, kgo.ReadCommitted(), func(r *kgo.Record) error {
		if r.Attrs.IsControl() {
			markers = with(markers, r.Offset)
		} else {
			events = with(events, r.Offset)
		}
		return nil
	})
	left := set.Minus(events).Minus(markers)
	if err != nil || left.Count() == 0 {
		return markers, err
	}
	err = a.scan(ctx, map[lake.Partition]lake.Offsets{p: left}, kgo.ReadUncommitted(), func(r *kgo.Record) error {
		aborted = with(aborted, r.Offset)
		return nil
	})
	markers = markers.Union(aborted)
	if left = left.Minus(aborted); err != nil || left.Count() == 0 {
		return markers, err
	}
	compacted, err := a.compacted(ctx, p.Topic)
	if err == nil && compacted {
		markers = markers.Union(left)
	}
	return markers, err
}

func (a *Reconciler) compacted(ctx context.Context, topic string) (bool, error) {
	configs, err := a.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return false, fmt.Errorf("reading how topic %s is cleaned up: %w", topic, err)
	}
	config, err := configs.On(topic, nil)
	if err == nil {
		err = config.Err
	}
	if err != nil {
		return false, fmt.Errorf("reading how topic %s is cleaned up: %w", topic, err)
	}
	for _, c := range config.Configs {
		if c.Key == "cleanup.policy" && strings.Contains(c.MaybeValue(), "compact") {
			return true, nil
		}
	}
	return false, nil
}
