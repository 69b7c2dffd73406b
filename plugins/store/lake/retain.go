package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/internal/lifecycle/expire"
)

// Removed tells what went, or, in a dry run, what would go.
type Removed = expire.Removed

// minAge is how long an object stays whatever the day of its rows: a proof of
// the log still needs its coverage.
const minAge = 24 * time.Hour

// Retain deletes the rows of days that ended longer than a time ago, except
// those of held fleets, and those that were received since then: a wrong clock,
// or a device that was away, does not shorten how long its events are kept. Zero
// keeps all. A day's objects go one by one, and holds
// are read again before each; a crash leaves the rest for the next run.
func (s *Store) Retain(ctx context.Context, t *Table, p expire.Pass, age time.Duration) (removed Removed, err error) {
	if age <= 0 {
		return removed, nil
	}
	held, err := p.Fleets(ctx)
	if err != nil {
		return removed, err
	}
	before := p.Now.Add(-age)
	objects, err := s.Objects(ctx, Select{To: before, Duplicates: true})
	if err != nil {
		return removed, err
	}
	for _, o := range objects {
		day, ok := o.date()
		if !ok || !day.AddDate(0, 0, 1).Before(before) || o.Written.After(p.Now.Add(-minAge)) {
			continue
		}
		if n, ok := s.spared.rows(o.Key, held, before); ok {
			removed.Kept += n
			continue
		}
		if held, err = p.Fleets(ctx); err != nil {
			return removed, err
		}
		was := removed
		w := target{gone: func(r Ref) bool {
			return !slices.Contains(held, textOf(r.Value(t.FleetColumn)))
		}, all: len(held) == 0}
		next := time.Time{}            // when the first of its rows goes that only waits for its time
		if !o.Written.Before(before) { // else all of it was received before
			w.all = false
			w.stays = func(r Ref) bool {
				at := t.receivedAt(r)
				if at < before.UnixMicro() {
					return false
				}
				if at := time.UnixMicro(at); next.IsZero() || at.Before(next) {
					next = at
				}
				return true
			}
		}
		err := s.purge(ctx, t, o, w, p.DryRun, &removed)
		if errors.Is(err, ErrNotFound) {
			continue // compaction put its rows elsewhere: the next run finds them
		}
		if err != nil {
			return removed, fmt.Errorf("deleting old rows: %w", err)
		}
		if removed.Rows == was.Rows && (removed.Kept > was.Kept || !next.IsZero()) {
			s.spared.note(o.Key, held, removed.Kept-was.Kept, next)
		}
	}
	return removed, nil
}
