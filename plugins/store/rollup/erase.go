package rollup

import (
	"context"
	"errors"
	"fmt"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// erasures is the tombstones that a store has read, up to number seq.
type erasures struct {
	seq int64
	set *tombstone.Set
}

// eraser is the part of a transaction that erasing needs.
type eraser interface {
	// erasures returns the number of the newest tombstone. No tombstone is added between
	// this call and the end of the transaction.
	erasures(ctx context.Context) (seq int64, err error)
	stones(ctx context.Context) (*tombstone.Set, error)
	// erase deletes up to n rows of the target from a table, and returns how many it deleted.
	erase(ctx context.Context, t tombstone.Target, table string, n int) (int64, error)
	// count adds n to a count of an erasure job.
	count(ctx context.Context, job, what string, n int64) error
}

// tombstones returns the tombstones that a transaction must respect; nil if there are none.
func (s *Store) tombstones(ctx context.Context, t tx) (*tombstone.Set, error) {
	seq, err := t.erasures(ctx)
	if err != nil || seq == 0 {
		return nil, err
	}
	if known := s.erased.Load(); known != nil && known.seq == seq {
		return known.set, nil
	}
	set, err := t.stones(ctx)
	if err != nil {
		return nil, err
	}
	s.erased.Store(&erasures{seq, set})
	return set, nil
}

// honour returns the tombstones for a batch. When there are new ones, it first writes all rows
// in memory and then forgets them, because they may count erased events. The erasure deletes
// rows after this transaction, so it also deletes these.
func (s *Store) honour(ctx context.Context, t tx) (*tombstone.Set, error) {
	set, err := s.tombstones(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("reading what is erased: %w", err)
	}
	if known := s.erased.Load(); known != nil && known.seq != s.known {
		if err := s.writeOut(ctx, t, all); err != nil {
			return nil, err
		}
		s.cache, s.known = newCache(), known.seq
		if s.cache.lacks, err = t.journal().stored(ctx); err != nil {
			return nil, fmt.Errorf("reading which minutes there are: %w", err)
		}
	}
	return set, nil
}

// erased reports whether event n of the window is erased.
func (w *Window) erased(n int, set *tombstone.Set) bool {
	if set == nil {
		return false
	}
	received := int64(0)
	if at, ok := text.ParseInstant(w.events[n].received); ok {
		received = at.UnixMicro()
	}
	return set.Holds(w.Fleet, w.Device, received)
}

// The names under which erased rows are counted.
const (
	countMinutes = "rollup_windows_1m"
	countHours   = "rollup_windows_1h"
	countDays    = "rollup_windows_1d"
)

// erasable returns the tables that have rows of devices, finer ones before those computed from
// them, and the name under which their rows are counted; "" is not counted.
func erasable() [][2]string {
	return [][2]string{{byMinute.table, countMinutes}, {byHour.table, countHours}, {byDay.table, countDays},
		{"rollup_mark", ""}}
}

// count returns how many windows there are of a device, or of a fleet if device is empty.
func count(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	s, err := Open(ctx, db, DefaultLimits())
	if err != nil {
		return nil, err
	}
	if err := s.WriteOut(ctx); err != nil {
		return nil, fmt.Errorf("writing what is to be counted: %w", err)
	}
	counts := map[string]int64{}
	for _, table := range erasable() {
		if table[1] == "" {
			continue
		}
		n := int64(0)
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM `+table[0]+
			` WHERE fleet = $1 AND ($2 = '' OR device_id = $2)`, fleet, device).Scan(&n); err != nil {
			return nil, fmt.Errorf("counting windows: %w", err)
		}
		counts[table[1]] = n
	}
	old, err := s.countOld(ctx, fleet, device)
	counts[countMinutes] += old
	return counts, err
}

// eraseChunk bounds the rows that one transaction deletes, because other writers wait for it.
const eraseChunk = 2000

// erase deletes all windows, with their ledgers, of a device or of a whole fleet. The
// tombstone must be buried before: from then on, no writer counts an event that was received
// before it, or writes a row that it had in memory. Windows that also count later events are
// deleted as well, and those events must be added again afterwards. erase may stop anywhere and be
// run again; each deletion is counted once. held is called before every chunk, and its error
// stops the erasure.
//
// No minutes are moved meanwhile. Objects are erased first: if a late event has read a window
// from an object before that, the window is a row when the rows are deleted.
func (s *Store) erase(ctx context.Context, db *sqldb.DB, t tombstone.Target, held func() error) error {
	return s.tiered(ctx, func(old *tier) error { return s.eraseWith(ctx, db, old, t, held) })
}

func (s *Store) eraseWith(ctx context.Context, db *sqldb.DB, old *tier, t tombstone.Target, held func() error) error {
	if err := errors.Join(held(), s.forgetAll(ctx)); err != nil {
		return err
	}
	if err := old.erase(ctx, t, held); err != nil {
		return fmt.Errorf("erasing old minutes: %w", err)
	}
	for _, table := range erasable() {
		for {
			if err := errors.Join(held(), old.keep(ctx)); err != nil {
				return err
			}
			n := int64(0)
			err := s.insist(ctx, func(tx tx) (err error) {
				if n, err = tx.erase(ctx, t, table[0], eraseChunk); err != nil || table[1] == "" {
					return err
				}
				return tx.count(ctx, t.Job, table[1], n)
			})
			if err != nil {
				return fmt.Errorf("erasing from %s: %w", table[0], err)
			}
			if n < eraseChunk {
				break
			}
		}
		if table[0] == byMinute.table {
			// A process may have read a row before it was deleted. It must not merge that into a new
			// row in its place, which may have the same version.
			if err := s.forgetAll(ctx); err != nil {
				return err
			}
		}
		// Wait for transactions that computed hours from the minutes that were just deleted.
		if err := tombstone.Barrier(ctx, db); err != nil {
			return fmt.Errorf("erasing from %s: %w", table[0], err)
		}
	}
	return nil
}

// forgetAll makes every process write and then forget the rows in its memory, if processes
// have memories of their own. In SQLite alter does that.
func (s *Store) forgetAll(ctx context.Context) error {
	if !s.parted {
		return nil
	}
	return s.foldAll(ctx)
}

// Counted returns how many events a batch added.
func (r Result) Counted() int { return r.Events[outcomeCounted] }
