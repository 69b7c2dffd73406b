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

// Erasure selects the rows to erase.
type Erasure struct {
	Fleet  string    // required
	Device string    // "": the whole fleet
	Name   bool      // Device is the name of a person, not a device id
	Until  time.Time // required: rows that were received later are kept
	DryRun bool
	// Seen has the keys of objects that were processed before and are skipped, because objects do
	// not change. Erase adds those that it has processed. nil: all are processed.
	Seen map[string]bool
	// Row is called, if set, with each row that will be erased. It has only the columns that the
	// table is erased by. Before is called, if set, after Row was called for all such rows of an
	// object, and before any of them is deleted. After a crash, both are called again for an
	// object that was not finished.
	Row    func(Ref)
	Before func(o Object, rows int64) error

	also []tombstone.Who // erased in the same pass; a row of several of them counts once
}

// who returns all devices or persons whose rows are erased.
func (e Erasure) who() []tombstone.Who {
	return append([]tombstone.Who{{Device: e.Device, Name: e.Name}}, e.also...)
}

// Erase deletes from every object the rows of a device or of a fleet, or those that name a person,
// that were received until a time. When it returns nil, such rows can only appear in objects of
// writers that do not know the tombstone yet. So the tombstone must be buried first, and Erase
// must be run again EraseSettle later. Erase can be run again after an error.
func (s *Store) Erase(ctx context.Context, t *Table, e Erasure) (removed Removed, err error) {
	if e.Fleet == "" || e.Until.IsZero() {
		return removed, errors.New("erasing: name a fleet and a time")
	}
	who := slices.DeleteFunc(e.who(), func(who tombstone.Who) bool { return who.Name && t.Names == nil })
	if len(who) == 0 {
		return removed, nil // no row of this table names a person
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
				changed = true // compaction moved its rows to another object: list again
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

// received returns whether a row is to be erased.
func (t *Table) received(e Erasure, who []tombstone.Who) func(Ref) bool {
	until := e.Until.UnixMicro()
	return func(r Ref) bool {
		return textOf(r.Value(t.FleetColumn)) == e.Fleet && t.receivedAt(r) <= until &&
			slices.ContainsFunc(who, func(who tombstone.Who) bool { return t.of(r, who) })
	}
}

// of reports whether a row of the fleet belongs to who.
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

// receivedAt returns when a row was received, in microseconds since 1970; the earliest time if
// that is not known.
func (t *Table) receivedAt(r Ref) int64 {
	for _, c := range t.ReceivedColumns {
		if v := r.Value(c); !v.IsNull() {
			return v.Int64()
		}
	}
	return math.MinInt64
}
