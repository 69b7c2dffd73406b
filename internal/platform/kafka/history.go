package kafka

import (
	"context"
	"time"
)

// History records the ends of partitions over time, and so tells how long ago the record at an offset was written. It
// is not safe for concurrent use.
type History struct {
	horizon time.Duration // the longest age that matters
	ends    []ended       // oldest first
}

// ended has the ends of partitions at a time.
type ended struct {
	at   time.Time
	ends map[Partition]int64
}

// historyFine is the precision of an age: a sixteenth of it, or the time between two notes if that is longer. Recorded
// points are half as far apart.
const historyFine = 16

// NewHistory returns a History for ages up to a horizon.
func NewHistory(horizon time.Duration) *History { return &History{horizon: horizon} }

// Seed adds points from before the start of the process, from the timestamps in the log.
func (h *History) Seed(ctx context.Context, now time.Time, positions Positions, topics ...string) error {
	for _, part := range []float64{1, 0.75, 0.5, 0.25, 0.1, 0.03, 0.01, 0.003, 0.001} {
		at := now.Add(-time.Duration(part * float64(h.horizon)))
		ends, err := positions.After(ctx, at, topics...)
		if err != nil {
			return err
		}
		h.ends = append(h.ends, ended{at, ends})
	}
	return nil
}

// Note records the present ends. The caller must not use the map afterwards.
func (h *History) Note(now time.Time, ends map[Partition]int64) {
	kept := h.ends[:0]
	for i, s := range h.ends {
		age := now.Sub(s.at)
		if i+1 < len(h.ends) && age > h.horizon && now.Sub(h.ends[i+1].at) > h.horizon {
			continue // the next point is old enough already
		}
		if n := len(kept); n > 0 && i+1 < len(h.ends) && s.at.Sub(kept[n-1].at) < age/(2*historyFine) {
			continue
		}
		kept = append(kept, s)
	}
	h.ends = append(kept, ended{now, ends})
}

// Age returns a lower bound of how long ago the record at an offset was written: at the time that is found, the log
// had reached beyond it. It is 0 for records written since the last note.
func (h *History) Age(now time.Time, p Partition, offset int64) time.Duration {
	for _, s := range h.ends {
		if s.ends[p] > offset {
			return now.Sub(s.at)
		}
	}
	return 0
}
