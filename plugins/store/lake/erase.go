package lake

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Erasure names the rows that must go, wherever they are.
type Erasure struct {
	Fleet  string    // required
	Device string    // "" is the whole fleet
	Until  time.Time // required: rows that were received later stay
	DryRun bool
	// Seen are objects that need not be looked at again: they do not change.
	// What Erase looked at it adds. nil: all are looked at.
	Seen map[string]bool
	// Row is called, when set, with each row that is to go, which has the columns
	// that the table is erased by, and no others. Before is called when all of
	// an object have been found, and nothing of it has gone. Both are called
	// again for an object that a crash left.
	Row    func(Ref)
	Before func(o Object, rows int64) error
}

// Erase deletes the rows of a device or a fleet, received up to a time, from
// every object. When it returns nil, no object has such a row but those that
// writers who do not know of the tombstone are about to write: bury that first,
// and run it again EraseSettle later. After an error run it again: what is done
// stays done.
func (s *Store) Erase(ctx context.Context, t *Table, e Erasure) (removed Removed, err error) {
	if e.Fleet == "" || e.Until.IsZero() {
		return removed, errors.New("erasing: name a fleet and a time")
	}
	w := target{gone: t.received(e), device: e.Device, row: e.Row, before: e.Before}
	if e.Seen == nil {
		e.Seen = map[string]bool{}
	}
	for try := 0; ; try++ {
		objects, err := s.Objects(ctx, Select{})
		if err != nil {
			return removed, err
		}
		changed := false
		for _, o := range objects {
			if e.Seen[o.Key] {
				continue
			}
			err := s.purge(ctx, t, o, w, e.DryRun, &removed)
			if errors.Is(err, ErrNotFound) && try < relists {
				changed = true // compaction put its rows elsewhere: look again
				continue
			}
			if err != nil {
				return removed, fmt.Errorf("erasing from %s: %w", o.Key, err)
			}
			e.Seen[o.Key] = true
		}
		if !changed {
			return removed, nil
		}
	}
}

// received tells of a row whether the erasure is about it.
func (t *Table) received(e Erasure) func(Ref) bool {
	until := e.Until.UnixMicro()
	return func(r Ref) bool {
		if textOf(r.Value(t.FleetColumn)) != e.Fleet {
			return false
		}
		if e.Device != "" {
			device := textOf(r.Value(t.DeviceColumn))
			if device != e.Device && (device != "" || t.Mentions == nil || !t.Mentions(r, e.Device)) {
				return false
			}
		}
		return t.receivedAt(r) <= until
	}
}

// receivedAt returns when a row was received, in microseconds since 1970. Of
// one of which nobody knows, that is before all others.
func (t *Table) receivedAt(r Ref) int64 {
	for _, c := range t.ReceivedColumns {
		if v := r.Value(c); !v.IsNull() {
			return v.Int64()
		}
	}
	return math.MinInt64
}
