package recount

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"

	"weir/internal/event"
	"weir/plugins/process/rule"
	"weir/plugins/store/raw"
)

// ForRules reads events of the raw store in the form in which rules see them. Upcast and Known are
// for events whose reading the rules stream has not recorded. It is safe for concurrent use.
type ForRules struct {
	Reader *raw.Reader
	Upcast *bloblang.Executor // the mapping of the rules stream; nil: none
	Known  bool               // whether Upcast is known to be the stream's mapping

	mu       sync.Mutex
	mappings map[string][]*bloblang.Executor // compiled mappings, by the id of the reading
}

// errFound ends a scan that has found what it was looking for.
var errFound = errors.New("found")

// mappingsOf returns the mappings of a reading. For one that this version does not understand it
// returns none, and false.
func (e *ForRules) mappingsOf(by *rule.Reading) (all []*bloblang.Executor, known bool) {
	if by == nil {
		if e.Upcast != nil {
			all = append(all, e.Upcast)
		}
		return all, e.Known
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	all, kept := e.mappings[by.ID]
	if !kept {
		var err error
		if all, err = by.Compile(); err != nil {
			return nil, false
		}
		if e.mappings == nil {
			e.mappings = map[string][]*bloblang.Executor{}
		}
		e.mappings[by.ID] = all
	}
	return all, len(by.Others) == 0
}

// Knows tells whether everything that a reading did with events can be repeated.
func (e *ForRules) Knows(by *rule.Reading) bool {
	_, known := e.mappingsOf(by)
	return known
}

// Of calls each for the wanted events. It skips those that a mapping fails on, as the rules stream
// does.
func (e *ForRules) Of(ctx context.Context, w rule.Wanted, by func(event.Coordinates) *rule.Reading,
	each func(rule.Stored) error) error {
	q := raw.Query{From: time.UnixMicro(w.From), To: time.UnixMicro(w.To + 1), Fleet: w.Fleet, Parallel: 1, Left: w.Left}
	if w.Device != "" {
		q.Devices = []string{w.Device}
	}
	if w.Left != nil { // do not begin what is too much to read to its end
		size, err := e.Reader.Estimate(ctx, q)
		if err != nil {
			return err
		} else if size.Events > w.Left.Load() {
			return rule.ErrTooMany
		}
	}
	_, err := e.Reader.Scan(ctx, q, func(row *raw.Row) error {
		if row.Delivery.Partition != w.Partition || row.Delivery.Topic != w.Topic {
			return nil
		}
		stored := Event{Row: row}
		if !stored.Logged() {
			return nil
		}
		var json []byte
		var err error
		if mappings, _ := e.mappingsOf(by(row.Delivery)); len(mappings) == 0 {
			json, err = row.AppendJSON(nil)
		} else {
			msg, merr := stored.mapped(mappings...)
			if merr != nil {
				return nil // the rules stream rejects it as invalid, too
			}
			json, err = msg.AsBytes()
		}
		if err != nil {
			return err
		}
		s := rule.Stored{First: row.Delivery, Again: row.Delivery != row.Record, Flags: row.Flags, JSON: json}
		if row.ReceivedAt != 0 {
			s.Received = time.UnixMicro(row.ReceivedAt)
		}
		return each(s)
	})
	if errors.Is(err, raw.ErrTooMany) {
		return rule.ErrTooMany
	}
	return err
}

// passedWithin is how long after a time, and passedMost among how many events, Passed looks for one
// that shows that this time had passed.
const (
	passedWithin = time.Hour
	passedMost   = 100_000
)

// Passed tells whether an event of the partition with a time of at or later was read before another
// event.
func (e *ForRules) Passed(ctx context.Context, before event.Coordinates, at int64) (bool, error) {
	n := 0
	from := time.UnixMicro(at)
	_, err := e.Reader.Scan(ctx, raw.Query{From: from, To: from.Add(passedWithin), Parallel: 1}, func(row *raw.Row) error {
		r := row.Record
		if n++; r.Topic == before.Topic && r.Partition == before.Partition && r.Offset < before.Offset {
			return errFound
		} else if n == passedMost {
			return errNotFound
		}
		return nil
	})
	switch {
	case errors.Is(err, errFound):
		return true, nil
	case errors.Is(err, errNotFound):
		return false, nil
	}
	return false, err
}

var errNotFound = errors.New("not found")

// daysMost bounds the rows of a day that Days reads.
const daysMost = 1_000_000

// Days tells whether each day has an event of the fleet that was received before the day ended.
// Retention deletes those first, and may leave late events, and those of other fleets that are on
// hold.
func (e *ForRules) Days(ctx context.Context, fleet string, from, to int64) (bool, error) {
	const day = 24 * time.Hour
	for at := time.UnixMicro(from).UTC().Truncate(day); at.UnixMicro() <= to; at = at.Add(day) {
		end := at.Add(day)
		q := raw.Query{From: at, To: end, Fleet: fleet, Parallel: 1, Left: new(atomic.Int64)}
		q.Left.Store(daysMost)
		_, err := e.Reader.Scan(ctx, q, func(row *raw.Row) error {
			if row.ReceivedAt < end.UnixMicro() {
				return errFound
			}
			return nil
		})
		switch {
		case errors.Is(err, errFound):
		case errors.Is(err, raw.ErrTooMany):
			return false, nil
		default:
			return false, err
		}
	}
	return true, nil
}
