package raw

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"weir/plugins/store/lake"
)

// Size is an estimate of what a query reads: the number of events, and the number and
// the total size of the objects that it opens.
type Size struct {
	Events  int64
	Objects int64
	Bytes   int64
}

func (s *Size) open(o lake.Object) {
	s.Objects++
	s.Bytes += o.Size
}

// Estimate returns about how many events a query finds, from the statistics, bloom
// filters and page indexes of the objects. It decodes no row. The number is rather too
// high than too low, but an object that compaction replaces during the call is not counted.
func (r *Reader) Estimate(ctx context.Context, q Query) (size Size, err error) {
	objects, err := r.store.Objects(ctx, lake.Select{From: q.From, To: q.To})
	if err != nil {
		return size, err
	}
	w := &wanted{from: math.MinInt64, to: math.MaxInt64, fleet: q.Fleet, metric: q.Metric, missed: q.Missed}
	if !q.From.IsZero() {
		w.from = q.From.UnixMicro()
	}
	if !q.To.IsZero() {
		w.to = q.To.UnixMicro()
	}
	if len(q.Devices) > 0 {
		w.devices = slices.Sorted(slices.Values(q.Devices))
	}
	for _, o := range objects {
		c, err := openCursor(ctx, r.store, o, w, 1, &Stats{})
		if errors.Is(err, lake.ErrNotFound) { // compaction replaced it
			continue
		}
		if err != nil {
			return size, fmt.Errorf("estimating from %s: %w", o.Key, err)
		}
		if c == nil {
			continue
		}
		size.open(o)
		for _, s := range c.spans {
			size.Events += s.to - s.from
		}
		if err := c.close(); err != nil {
			return size, fmt.Errorf("closing %s: %w", o.Key, err)
		}
	}
	return size, nil
}

// EstimateAll returns about how many events of all fleets a range holds, from the
// footers of the objects. An object that lies only partly in the range counts in
// proportion to the share of its time.
func (r *Reader) EstimateAll(ctx context.Context, from, to time.Time) (size Size, err error) {
	objects, err := r.store.Objects(ctx, lake.Select{From: from, To: to})
	if err != nil {
		return size, err
	}
	err = r.store.Footers(ctx, objects, func(f lake.Footer) error {
		size.open(f.Object)
		first, last := f.Min, f.Max
		if first.Before(from) {
			first = from
		}
		if !to.IsZero() && last.After(to) {
			last = to
		}
		whole, inside := f.Max.Sub(f.Min), last.Sub(first)
		if whole <= 0 || inside >= whole {
			size.Events += f.Rows
		} else {
			size.Events += int64(float64(f.Rows) * inside.Seconds() / whole.Seconds())
		}
		return nil
	})
	return size, err
}
