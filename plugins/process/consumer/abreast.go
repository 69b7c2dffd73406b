package consumer

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// Topics that a stream puts together by partition - rules that join two - are read
// abreast: of partitions of the same number, none is handed out further than a while
// ahead of what the others have yet to hand out, by when records were written to the
// log. So in a backlog a stream has of one topic what it would have had live, and not
// all of it before the other's. It is no promise: a partition that another member has
// holds nobody back, nor does one that nothing came of for a while.

// still is for how long a partition that gives nothing, and has not given all that it
// is known to hold, is waited for. It is some fetches.
const still = 3 * fetchWait

// writtenAt is when a record was written; no later than now, so that a clock that is
// ahead holds nobody back. It is the zero time where nobody knows.
func writtenAt(r *kgo.Record, now time.Time) time.Time {
	switch {
	case r.Timestamp.UnixMilli() <= 0:
		return time.Time{}
	case r.Timestamp.After(now):
		return now
	}
	return r.Timestamp
}

// bound is up to when records may be handed out.
type bound struct {
	none  bool      // however late
	until time.Time // no record that was written later
	again time.Time // when to look again, if nothing comes; the zero time: not at all
}

// passes tells whether a record may be handed out.
func (b bound) passes(r *kgo.Record, now time.Time) bool {
	at := writtenAt(r, now)
	return b.none || at.IsZero() || !at.After(b.until)
}

// least is the bound that lets less pass.
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

// holds is how far the others of its number may go because of a partition.
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

// boundOf is how far a partition may be handed out, for the others of its number. The
// caller holds mu.
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
