package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/internal/lifecycle/expire"
)

// Removed says what was deleted or, in a dry run, would be.
type Removed = expire.Removed

// minAge is how long an object is kept after it was written, whatever the day of its rows: a proof
// may still need its coverage.
const minAge = 24 * time.Hour

// Retain deletes the rows of days that ended longer than age ago, except rows of held fleets, and
// rows that were received within age: a wrong clock, or a device that was offline, must not
// shorten how long its events are kept. An age of zero keeps everything. Objects are changed one
// at a time, and the holds are read again before each. After a crash the next run continues.
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
		next := time.Time{}            // received time of the first row that is only kept for its age
		if !o.Written.Before(before) { // otherwise all its rows were received before
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
			continue // compaction moved its rows; the next run finds them
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
