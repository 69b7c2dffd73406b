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

// Laters reads later facts in parallel with a scan of events, in the same order. It holds
// the facts of one event in memory, and keeps some objects of one hour open, as a scan
// does. It is not safe for concurrent use.
type Laters struct {
	ctx   context.Context
	store *lake.Store
	to    time.Time
	next  func() (*Later, error, bool)
	stop  func()
	head  *Later // the next fact; nil at the end, and before the first is read
	begun bool
	tries int // how often reading was restarted for one event
}

// NewLaters reads the facts about the events of a raw store up to a time; zero is no
// bound. Reading begins with the first event that Of is called for.
func NewLaters(ctx context.Context, events *lake.Store, to time.Time) *Laters {
	return &Laters{ctx: ctx, store: events.Below(LaterFolder), to: to}
}

// Of returns the facts about an event, one row per look-up. It must be called for events
// in the order of Position. For an event without a failed look-up it returns nothing and
// reads nothing.
func (l *Laters) Of(r *Row) (found []*Later, err error) {
	if r.EnrichFailed == "" {
		return nil, nil
	}
	for {
		if found, err = l.of(r); !errors.Is(err, lake.ErrNotFound) || l.tries == replans {
			break
		}
		// Compaction replaced an object: restart from this event.
		l.tries++
		l.Close()
	}
	if err != nil {
		l.Close() // another call restarts
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

// toward compares the row's event with r in the order of Position: negative when it comes
// before r, zero when it is r, positive when it comes after r.
func (l *Later) toward(r *Row) int {
	return cmp.Or(cmp.Compare(hourOf(l.At), hourOf(r.At)), l.event().before(r))
}

// Close ends the reading. It may be called more than once.
func (l *Laters) Close() {
	if l.stop != nil {
		l.stop()
	}
	l.begun, l.head, l.next, l.stop = false, nil, nil, nil
}

// appendLater appends the later facts about the event as a JSON array; nothing when there
// are none.
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

// AppendJSON appends a JSON object: the look-up, its version, when and by which job it was
// repeated, and the facts.
func (l *Later) AppendJSON(b []byte) []byte {
	b = rawjson.AppendString(append(b, `{"lookup":`...), l.Lookup)
	b = rawjson.AppendString(append(b, `,"version":`...), l.Version)
	b = appendStamp(append(b, `,"enriched_at":`...), l.EnrichedAt)
	b = rawjson.AppendString(append(b, `,"job":`...), l.Job)
	return append(append(append(b, `,"facts":`...), l.Facts...), '}')
}

// laterField is the field of an event that holds the later facts.
const laterField = "enriched_later"

// beside scans as Scan does, and adds the later facts to each event when the requested
// fields include them.
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
