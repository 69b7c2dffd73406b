package rollup

import (
	"context"
	"errors"
	"fmt"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// erasures is what a store knows of tombstones.
type erasures struct {
	seq int64
	set *tombstone.Set
}

// eraser is what erasing needs of a transaction.
type eraser interface {
	// erasures returns the number of the last tombstone. None is buried
	// between that and the end of the transaction.
	erasures(ctx context.Context) (seq int64, err error)
	stones(ctx context.Context) (*tombstone.Set, error)
	// erase deletes up to n rows of a table that are the target's, and returns
	// how many they were.
	erase(ctx context.Context, t tombstone.Target, table string, n int) (int64, error)
	// count adds to the counts of an erasure.
	count(ctx context.Context, job, what string, n int64) error
}

// tombstones returns those that a transaction must honour.
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

// honour returns the tombstones for a batch. When there is a new one, no row in
// memory may be written any more after this transaction: it can count what is
// erased. What deletes that comes after it.
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
		if j := t.journal(); j != nil {
			if s.cache.lacks, err = j.stored(ctx); err != nil {
				return nil, fmt.Errorf("reading which minutes there are: %w", err)
			}
		}
	}
	return set, nil
}

// erased tells whether an event of the window is.
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

// The names that counts of erased rows have.
const (
	countMinutes = "rollup_windows_1m"
	countHours   = "rollup_windows_1h"
	countDays    = "rollup_windows_1d"
)

// erasable are the tables with rows of devices, in the order in which they are
// made of each other, and what their rows are counted as; "" is not counted.
func erasable() [][2]string {
	return [][2]string{{byMinute.table, countMinutes}, {byHour.table, countHours}, {byDay.table, countDays},
		{"rollup_mark", ""}}
}

// count tells how many windows there are of a device, or, for "", of a fleet.
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

// eraseChunk bounds a transaction, which other writers wait for.
const eraseChunk = 2000

// erase deletes all windows of a device, or of a fleet, with their ledgers. The
// tombstone must be buried: from then on, no writer counts anything that was
// received before, nor writes a row that it had in memory. Windows that also
// count what came later must be made again, by adding that anew. It may stop
// anywhere and be run again; what it deletes is counted once. held is asked
// before every chunk, and stops it with its error.
//
// Nobody moves minutes meanwhile. Objects are first: what a late event reads from
// one before that is a row when the rows are deleted.
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
			err := s.alter(ctx, func(tx tx) (err error) {
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
			// What a process has read of a row before it was deleted must not go into
			// one that is made in its place, and may be of the same version.
			if err := s.forgetAll(ctx); err != nil {
				return err
			}
		}
		// Who made hours of the minutes that were just deleted ends first.
		if err := tombstone.Barrier(ctx, db); err != nil {
			return fmt.Errorf("erasing from %s: %w", table[0], err)
		}
	}
	return nil
}

// forgetAll has every process forget what it has in memory, after it is written,
// where each has a memory that others do not see.
func (s *Store) forgetAll(ctx context.Context) error {
	if !s.parted {
		return nil
	}
	return s.foldAll(ctx)
}

// Counted is how many events a batch added.
func (r Result) Counted() int { return r.Events[outcomeCounted] }
