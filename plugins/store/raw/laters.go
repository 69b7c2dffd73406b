package raw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"weir/internal/platform/rawjson"
	"weir/plugins/store/lake"
)

// Laters reads what was found out later beside a scan of events, in the order of that:
// it holds what is of one event, and has some objects of one hour open, as a scan has.
type Laters struct {
	ctx   context.Context
	store *lake.Store
	to    time.Time
	next  func() (*Later, error, bool)
	stop  func()
	head  *Later // that comes next; nil at the end, and before the first
	begun bool
	tries int // to go on from one event
}

// NewLaters reads what was found out about the events of a raw store up to a time, zero
// being no bound. It begins with the first event that it is asked for.
func NewLaters(ctx context.Context, events *lake.Store, to time.Time) *Laters {
	return &Laters{ctx: ctx, store: events.Below(LaterFolder), to: to}
}

// Of is what was found out about an event, one row a look-up. Events come in the order
// of Position. Of one for which no look-up failed there is nothing, and nothing is read.
func (l *Laters) Of(r *Row) (found []*Later, err error) {
	if r.EnrichFailed == "" {
		return nil, nil
	}
	for {
		if found, err = l.of(r); !errors.Is(err, lake.ErrNotFound) || l.tries == replans {
			break
		}
		// Compaction put rows elsewhere: look again, from this event on.
		l.tries++
		l.Close()
	}
	if err != nil {
		l.Close() // who asks again has it read again
		return nil, fmt.Errorf("reading what was found out later: %w", err)
	}
	l.tries = 0
	return found, nil
}

func (l *Laters) of(r *Row) (found []*Later, err error) {
	if !l.begun {
		from := time.UnixMicro(hourOf(r.At))
		l.next, l.stop = iter.Pull2(func(yield func(*Later, error) bool) {
			err := scanLater(l.ctx, l.store, from, l.to, func(one *Later) error {
				if !yield(one, nil) {
					return errStop
				}
				return nil
			})
			if err != nil {
				yield(nil, err)
			}
		})
		l.begun = true
		if err := l.advance(); err != nil {
			return nil, err
		}
	}
	for l.head != nil {
		switch c := l.head.toward(r); {
		case c > 0:
			return found, nil
		case c == 0 && l.head.Fleet == r.Fleet:
			found = append(found, l.head)
		}
		if err := l.advance(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (l *Laters) advance() (err error) {
	var more bool
	if l.head, err, more = l.next(); !more {
		l.head = nil
	}
	return err
}

// toward tells whether the row's event comes before r, is r, or comes behind it, in the
// order of Position.
func (l *Later) toward(r *Row) int {
	return cmp.Or(cmp.Compare(hourOf(l.At), hourOf(r.At)), l.event().before(r))
}

// Close ends the reading. It may be called again.
func (l *Laters) Close() {
	if l.stop != nil {
		l.stop()
	}
	l.begun, l.head, l.next, l.stop = false, nil, nil, nil
}

// appendLater writes what was found out about the event as an array; nothing when there
// is nothing.
func appendLater(b []byte, r *Row, _ string) ([]byte, error) {
	if len(r.Later) == 0 {
		return b, nil
	}
	b = append(b, '[')
	for i, l := range r.Later {
		if i > 0 {
			b = append(b, ',')
		}
		b = l.AppendJSON(b)
	}
	return append(b, ']'), nil
}

// AppendJSON appends what the look-up said, by which version, when and for which job.
func (l *Later) AppendJSON(b []byte) []byte {
	b = rawjson.AppendString(append(b, `{"lookup":`...), l.Lookup)
	b = rawjson.AppendString(append(b, `,"version":`...), l.Version)
	b = appendStamp(append(b, `,"enriched_at":`...), l.EnrichedAt)
	b = rawjson.AppendString(append(b, `,"job":`...), l.Job)
	return append(append(append(b, `,"facts":`...), l.Facts...), '}')
}

// laterField is the field of an event that has what was found out later.
const laterField = "enriched_later"

// beside scans as Scan does; where the fields ask for it, each event has what was found
// out about it later.
func (r *Reader) beside(ctx context.Context, q *request, each func(*Row) error) (Stats, error) {
	if !q.has(laterField) {
		return r.Scan(ctx, q.query, each)
	}
	laters := NewLaters(ctx, r.store, q.query.To)
	defer laters.Close()
	return r.Scan(ctx, q.query, func(row *Row) (err error) {
		if row.Later, err = laters.Of(row); err != nil {
			return err
		}
		return each(row)
	})
}
