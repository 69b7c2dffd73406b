package consumer

import (
	"errors"
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

// The engine has a wrapper for inputs that hands on again what was refused
// (AutoRetryNacksBatched). It copies each message before anybody has refused it, and
// gives each a place in a group: eight objects a message of each stream. What is read of
// the log is still there, so that messages are made again when they are asked for.

// refused is what of a batch was refused, until it is handed out again.
type refused struct {
	p       *partition
	s       *span
	records []*kgo.Record
	times   int
	at      time.Time // not before
}

// restOf is how long what was refused so many times waits.
func restOf(times int) time.Duration {
	if times <= 2 {
		return 0
	}
	return min(time.Millisecond<<min(times-3, 10), time.Second)
}

// refuse notes what was refused of a batch.
func (r *reader) refuse(p *partition, s *span, records []*kgo.Record, times int, err error) {
	one := refused{p, s, refusedOf(records, err), times, time.Now().Add(restOf(times))}
	r.mu.Lock()
	r.again = append(r.again, one)
	r.mu.Unlock()
	r.nudge()
}

// takeAgain takes what was refused first of what may come again, or says when
// something may.
func (r *reader) takeAgain(now time.Time) (one refused, is bool, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.again {
		if at := r.again[i].at; at.After(now) {
			due = earliest(due, at)
			continue
		}
		one = r.again[i]
		r.again = slices.Delete(r.again, i, i+1)
		return one, true, time.Time{}
	}
	return one, false, due
}

// earliest is the earlier of two times, of which a zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// refusedOf are the records of a batch of which something was refused. Who refuses some
// messages of a batch has it in another shape, perhaps: they are known by their
// coordinates. Where one has none, or those of another batch, all come again.
func refusedOf(records []*kgo.Record, err error) []*kgo.Record {
	var of *service.BatchError
	if !errors.As(err, &of) || of.IndexedErrors() == 0 {
		return records
	}
	places := make(map[int64]int, len(records)) // in records, by offset
	for i, r := range records {
		if _, twice := places[r.Offset]; twice { // a topic that was made anew: coordinates do not tell them apart
			return records
		}
		places[r.Offset] = i
	}
	wrong, strange := make([]bool, len(records)), false
	//lint:ignore SA1019 the index, which means nothing, is not looked at
	of.WalkMessages(func(_ int, msg *service.Message, err error) bool {
		if err == nil {
			return true
		}
		i, known := placeOf(msg, records, places)
		if strange = !known; known {
			wrong[i] = true
		}
		return known
	})
	var again []*kgo.Record
	for i, r := range records {
		if wrong[i] {
			again = append(again, r)
		}
	}
	if strange || len(again) == 0 {
		return records
	}
	return again
}

// placeOf is which of the records a message was made of.
func placeOf(msg *service.Message, records []*kgo.Record, places map[int64]int) (i int, known bool) {
	at, _, known := event.CoordinatesOf(msg)
	if known {
		i, known = places[at.Offset]
	}
	return i, known && at.Topic == records[i].Topic && at.Partition == records[i].Partition
}
