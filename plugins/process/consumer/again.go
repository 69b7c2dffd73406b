package consumer

import (
	"errors"
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

// The engine's wrapper that hands out refused messages again (AutoRetryNacksBatched) copies each message before it is
// known to be refused, and registers each in a group: eight objects for each message of each stream. Here the records
// of a batch are still in memory, so messages are made from them again only when they are needed.

// refused are the records of a batch that were refused, until they are handed out again.
type refused struct {
	p       *partition
	s       *span
	records []*kgo.Record
	times   int
	at      time.Time // the earliest time to hand them out
}

// restOf returns how long records wait that were refused so many times.
func restOf(times int) time.Duration {
	if times <= 2 {
		return 0
	}
	return min(time.Millisecond<<min(times-3, 10), time.Second)
}

// refuse queues the records of a batch that were refused.
func (r *reader) refuse(p *partition, s *span, records []*kgo.Record, times int, err error) {
	one := refused{p, s, refusedOf(records, err), times, time.Now().Add(restOf(times))}
	r.mu.Lock()
	r.again = append(r.again, one)
	r.mu.Unlock()
	r.nudge()
}

// takeAgain takes the refused records that have waited longest among those that are due, or returns when some will be
// due.
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

// earliest returns the earlier of two times. A zero time is ignored.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// refusedOf returns the records of the messages that were refused. An output may report them for a batch of another
// shape, so messages are matched to records by their coordinates. If one has none, or those of another batch, all
// records are returned.
func refusedOf(records []*kgo.Record, err error) []*kgo.Record {
	var of *service.BatchError
	if !errors.As(err, &of) || of.IndexedErrors() == 0 {
		return records
	}
	places := make(map[int64]int, len(records)) // in records, by offset
	for i, r := range records {
		if _, twice := places[r.Offset]; twice { // the topic was deleted and created again: offsets are ambiguous
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

// placeOf returns the index of the record that a message was made of.
func placeOf(msg *service.Message, records []*kgo.Record, places map[int64]int) (i int, known bool) {
	at, _, known := event.CoordinatesOf(msg)
	if known {
		i, known = places[at.Offset]
	}
	return i, known && at.Topic == records[i].Topic && at.Partition == records[i].Partition
}
