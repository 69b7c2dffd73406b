package kafka

import (
	"context"
	"time"
)

// History remembers where the log ended when, and so can tell how long ago a
// record at an offset was written. It is for one goroutine.
type History struct {
	horizon time.Duration // the longest age that matters
	ends    []ended       // oldest first
}

// ended is where partitions ended at a time.
type ended struct {
	at   time.Time
	ends map[Partition]int64
}

// historyFine is how exact an age is: to a sixteenth of itself, or to the time
// between two notes. What is remembered lies half as far apart.
const historyFine = 16

// NewHistory tells ages up to a horizon.
func NewHistory(horizon time.Duration) *History { return &History{horizon: horizon} }

// Seed adds what the log itself knows of the time before this process.
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

// Note remembers where the log ends now. The map is the history's from then on.
func (h *History) Note(now time.Time, ends map[Partition]int64) {
	kept := h.ends[:0]
	for i, s := range h.ends {
		age := now.Sub(s.at)
		if i+1 < len(h.ends) && age > h.horizon && now.Sub(h.ends[i+1].at) > h.horizon {
			continue // the next one is as old as matters
		}
		if n := len(kept); n > 0 && i+1 < len(h.ends) && s.at.Sub(kept[n-1].at) < age/(2*historyFine) {
			continue
		}
		kept = append(kept, s)
	}
	h.ends = append(kept, ended{now, ends})
}

// Age is how long ago the record at an offset was written, at least: the log
// reached beyond it at the time that is found. It is 0 for one that came since
// the last note.
func (h *History) Age(now time.Time, p Partition, offset int64) time.Duration {
	for _, s := range h.ends {
		if s.ends[p] > offset {
			return now.Sub(s.at)
		}
	}
	return 0
}
