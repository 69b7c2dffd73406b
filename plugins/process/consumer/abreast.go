package consumer

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// Streams whose rules join two topics by partition number read these topics abreast: among partitions of the same
// number, none hands out records that were written to the log much later than those which another has yet to hand out.
// So in a backlog a stream sees both topics about as it would have seen them live, instead of all of one before the
// other. This is best effort: a partition that another member has, or that gives no records for a while, holds none
// back.

// still is how long the others wait for a partition that gives no records though it is known to have more: some
// fetches.
const still = 3 * fetchWait

// writtenAt returns when a record was written, but no later than now, so that a fast clock holds no partition back. It
// is the zero time if that is not known.
func writtenAt(r *kgo.Record, now time.Time) time.Time {
	switch {
	case r.Timestamp.UnixMilli() <= 0:
		return time.Time{}
	case r.Timestamp.After(now):
		return now
	}
	return r.Timestamp
}

// bound limits the records that may be handed out by the time at which they were written.
type bound struct {
	none  bool      // no limit
	until time.Time // the latest time of writing
	again time.Time // when to compute the bound again if no record comes; zero: never
}

// passes tells whether a record may be handed out.
func (b bound) passes(r *kgo.Record, now time.Time) bool {
	at := writtenAt(r, now)
	return b.none || at.IsZero() || !at.After(b.until)
}

// least returns the stricter of two bounds.
func (b bound) least(o bound) bound {
	again := b.again
	if !o.again.IsZero() && (again.IsZero() || o.again.Before(again)) {
		again = o.again
	}
	if b.none || !o.none && o.until.Before(b.until) {
		b = o
	}
	b.again = again
	return b
}

// holds returns the bound that a partition sets for the others of its number.
func (p *partition) holds(abreast time.Duration, now time.Time) bound {
	free := bound{none: true}
	switch {
	case p.leaving:
		return free
	case len(p.queue) > 0:
		if at := writtenAt(p.queue[0], now); !at.IsZero() {
			return bound{until: at.Add(abreast)}
		}
		return free
	case p.next > 0 && p.next >= p.end:
		return free // all of it was handed out
	case p.inFlight > 0:
		return bound{until: p.last.Add(abreast)}
	}
	if until := p.moved.Add(still); now.Before(until) {
		return bound{until: p.last.Add(abreast), again: until}
	}
	return free
}

// boundOf returns the bound of a partition that the others of its number set. The caller holds mu.
func (r *reader) boundOf(p *partition, now time.Time) bound {
	b := bound{none: true}
	if r.abreast <= 0 {
		return b
	}
	for _, topic := range r.topics {
		if o := r.mine[kafka.Partition{Topic: topic, Number: p.number}]; o != nil && o != p {
			b = b.least(o.holds(r.abreast, now))
		}
	}
	return b
}
