package lake

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// Erasure names the rows that must go, wherever they are.
type Erasure struct {
	Fleet  string    // required
	Device string    // "" is the whole fleet
	Name   bool      // Device is no device's name but one of a person
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

	also []tombstone.Who // in the same pass: a row of several is one row
}

// who are those whose rows go.
func (e Erasure) who() []tombstone.Who {
	return append([]tombstone.Who{{Device: e.Device, Name: e.Name}}, e.also...)
}

// Erase deletes the rows of a device or a fleet, or those that name a person, received up
// to a time, from every object. When it returns nil, no object has such a row but those that
// writers who do not know of the tombstone are about to write: bury that first,
// and run it again EraseSettle later. After an error run it again: what is done
// stays done.
func (s *Store) Erase(ctx context.Context, t *Table, e Erasure) (removed Removed, err error) {
	if e.Fleet == "" || e.Until.IsZero() {
		return removed, errors.New("erasing: name a fleet and a time")
	}
	who := slices.DeleteFunc(e.who(), func(who tombstone.Who) bool { return who.Name && t.Names == nil })
	if len(who) == 0 {
		return removed, nil // no row of this table names anybody
	}
	w := target{gone: t.received(e, who), row: e.Row, before: e.Before}
	if !slices.ContainsFunc(who, func(who tombstone.Who) bool { return who.Device == "" }) {
		for _, who := range who {
			w.devices = append(w.devices, who.Device)
		}
	}
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
func (t *Table) received(e Erasure, who []tombstone.Who) func(Ref) bool {
	until := e.Until.UnixMicro()
	return func(r Ref) bool {
		return textOf(r.Value(t.FleetColumn)) == e.Fleet && t.receivedAt(r) <= until &&
			slices.ContainsFunc(who, func(who tombstone.Who) bool { return t.of(r, who) })
	}
}

// of tells whether a row of the fleet is of somebody.
func (t *Table) of(r Ref, who tombstone.Who) bool {
	switch {
	case who.Name:
		return t.Names(r, who.Device)
	case who.Device == "":
		return true
	}
	device := textOf(r.Value(t.DeviceColumn))
	return device == who.Device || device == "" && t.Mentions != nil && t.Mentions(r, who.Device)
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
