package rollup

import (
	"context"
	"fmt"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// part is a kind of data that retention removes.
type part string

// The part for ledgers. The parts for windows have the names of their resolutions.
const ledgers part = "ledgers"

// retained says what a retention pass removed or, in a dry run, would remove.
type retained struct {
	Minutes, Hours, Days expire.Removed
	Ledgers              expire.Removed // ledgers of windows that are kept
}

// dropChunk and sealChunk are how many rows one transaction changes at most, because other writers
// wait for it.
const dropChunk, sealChunk = 2000, 2000

// expireRows opens the rollups in a database and runs retain.
func expireRows(ctx context.Context, db *sqldb.DB, p expire.Pass, rollups, ledgers time.Duration) (retained, error) {
	s, err := Open(ctx, db, Limits{Keep: rollups, Ledger: ledgers, Cache: 1})
	if err != nil {
		return retained{}, err
	}
	return s.retain(ctx, p)
}

// retain deletes windows that are too old, and ledgers of windows that have not changed for long;
// a limit of zero keeps all. Data of held fleets is kept. It may be stopped at any time and run
// again.
func (s *Store) retain(ctx context.Context, p expire.Pass) (out retained, err error) {
	oldest := s.oldest(p.Now)
	if !p.DryRun {
		if err := s.foldLeft(ctx, p.Now); err != nil {
			return out, err
		}
	}
	if s.limits.Keep > 0 {
		for _, r := range []struct {
			res resolution
			to  *expire.Removed
		}{{byMinute, &out.Minutes}, {byHour, &out.Hours}, {byDay, &out.Days}} {
			if err := s.dropOld(ctx, r.res, p, oldest, r.to); err != nil {
				return out, fmt.Errorf("deleting %s windows: %w", r.res.Name, err)
			}
		}
	}
	if s.limits.Ledger > 0 {
		if err := s.dropLedgers(ctx, p, p.Now.Add(-s.limits.Ledger).Unix(), &out.Ledgers); err != nil {
			return out, fmt.Errorf("dropping ledgers: %w", err)
		}
	}
	if held, err := p.Fleets(ctx); err != nil || p.DryRun || len(held) > 0 || s.limits.Keep <= 0 {
		return out, err // with holds, states of hours and marks stay with the windows that are kept
	}
	err = s.insist(ctx, func(t tx) error { return t.forgetHours(ctx, oldest) })
	if err != nil {
		return out, fmt.Errorf("forgetting old hours: %w", err)
	}
	return out, nil
}

// leftAfter is the age from which entries of journals are written to rows before a pass: the
// oldest entry keeps later ledgers from being dropped.
const leftAfter = time.Hour

func (s *Store) foldLeft(ctx context.Context, now time.Time) error {
	if !s.parted {
		return nil
	}
	old := false
	err := s.backend.view(ctx, func(t tx) (err error) {
		old, err = t.journal().(parted).hasBefore(ctx, now.Add(-leftAfter))
		return err
	})
	if err != nil || !old {
		return err
	}
	return s.foldAll(ctx)
}

func (s *Store) dropOld(ctx context.Context, res resolution, p expire.Pass, cutoff int64,
	removed *expire.Removed) error {
	if err := s.foresee(ctx, part(res.Name), p, cutoff, 0, removed); err != nil {
		return err
	}
	if res == byMinute { // before the rows, or an old version of a window in an object would count again
		if err := s.dropObjects(ctx, p, cutoff, removed); err != nil {
			return err
		}
	}
	if p.DryRun {
		return nil
	}
	if pg, ok := s.backend.(*postgres); ok {
		names, err := pg.partitionsBefore(ctx, res, cutoff)
		if err != nil {
			return err
		}
		for _, name := range names {
			held, err := p.Fleets(ctx)
			if err != nil {
				return err
			}
			n, dropped, err := pg.dropPartition(ctx, name, held)
			if err != nil {
				return fmt.Errorf("dropping partition %s: %w", name, err)
			}
			if removed.Rows += n; dropped {
				removed.Partitions++
			}
		}
	}
	return s.inChunks(ctx, p, dropChunk, removed, func(t tx, held []string) (int64, error) {
		return t.drop(ctx, res, cutoff, held, dropChunk)
	})
}

func (s *Store) dropLedgers(ctx context.Context, p expire.Pass, cutoff int64, removed *expire.Removed) error {
	from := int64(0)
	if s.limits.Keep > 0 {
		from = s.oldest(p.Now) // older windows are deleted with their ledgers
	}
	if err := s.foresee(ctx, ledgers, p, cutoff, from, removed); err != nil || p.DryRun {
		return err
	}
	return s.inChunks(ctx, p, sealChunk, removed, func(t tx, held []string) (int64, error) {
		return t.seal(ctx, cutoff, held, sealChunk)
	})
}

// foresee counts what is kept because of holds and, in a dry run, what would be removed; of that,
// only what belongs to windows that began at `from` or later.
func (s *Store) foresee(ctx context.Context, what part, p expire.Pass, cutoff, from int64,
	removed *expire.Removed) error {
	held, err := p.Fleets(ctx)
	if err != nil {
		return err
	}
	return s.view(ctx, all, func(t tx) (err error) {
		if len(held) > 0 {
			if removed.Kept, err = t.countOld(ctx, what, cutoff, 0, held, false); err != nil {
				return err
			}
		}
		if p.DryRun {
			removed.Rows, err = t.countOld(ctx, what, cutoff, from, held, true)
		}
		return err
	})
}

// inChunks calls some in one transaction after the other, until it removes less than chunk rows.
// It asks for the held fleets before each.
func (s *Store) inChunks(ctx context.Context, p expire.Pass, chunk int64, removed *expire.Removed,
	some func(tx, []string) (int64, error)) error {
	for {
		held, err := p.Fleets(ctx)
		if err != nil {
			return err
		}
		n := int64(0)
		err = s.insist(ctx, func(t tx) (err error) {
			n, err = some(t, held)
			return err
		})
		if err != nil {
			return err
		}
		if removed.Rows += n; n < chunk {
			return nil
		}
	}
}

// insist is alter, and runs fn again when other writers are in its way: PostgreSQL ends one of two
// transactions that wait for each other.
func (s *Store) insist(ctx context.Context, fn func(tx) error) error {
	for attempt := 1; ; attempt++ {
		err := s.alter(ctx, fn)
		if !isConflict(err) || attempt == maxAttempts || ctx.Err() != nil {
			return err
		}
	}
}
