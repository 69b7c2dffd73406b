package rollup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// rollPolicy says when hours are computed from their minutes.
type rollPolicy struct {
	// Settle is how long an hour stays open after its end, or after its first row was written if
	// that was later. An event that comes after that marks this hour of its device, which is then
	// rolled again.
	Settle time.Duration
	// Refresh is how often an open hour is rolled.
	Refresh time.Duration
}

// rollChunk is how many hours, each of one device, one transaction rolls.
const rollChunk = 200

// roll brings hours and days up to date with the minutes: hours that have to be closed, open hours
// that were not rolled for p.Refresh, and hours of devices that late events marked. An hour or day
// is computed from all its finer windows and replaces what was stored, so rolling twice, or again
// after a crash, changes nothing. Events that are not in rows of minutes yet are not lost: the
// write of their row marks the hour if it is closed by then. roll returns how many hours of
// devices it rolled.
func (s *Store) roll(ctx context.Context, p rollPolicy, now time.Time) (rolled int, err error) {
	var hours []hourInfo
	if err := s.backend.view(ctx, func(t tx) (err error) { hours, err = t.unclosed(ctx); return err }); err != nil {
		return 0, fmt.Errorf("listing open hours: %w", err)
	}
	for _, h := range hours {
		n, err := s.rollHour(ctx, h, p, now)
		if rolled += n; err != nil {
			return rolled, fmt.Errorf("rolling hour %s: %w", time.Unix(h.Hour, 0).UTC().Format(time.RFC3339), err)
		}
	}
	n, err := s.rollMarks(ctx, now)
	return rolled + n, err
}

func (s *Store) rollMarks(ctx context.Context, now time.Time) (rolled int, err error) {
	for {
		var keys []Key
		err := s.rolling(ctx, func(t tx) (err error) {
			keys, err = t.marks(ctx, rollChunk)
			return err
		}, &keys, func(t tx) error {
			alone, err := t.lockRoller(ctx)
			if err != nil || !alone {
				keys = nil
				return err
			}
			if keys, err = t.takeMarks(ctx, rollChunk); err != nil {
				return err
			}
			return s.rollKeys(ctx, t, keys, now)
		})
		if err != nil {
			return rolled, fmt.Errorf("rolling marked hours: %w", err)
		}
		if rolled += len(keys); len(keys) < rollChunk {
			return rolled, nil
		}
	}
}

// rolling runs fn, which rolls hours of devices, in one transaction. Before that, it reads from
// objects the old minutes that the hours need. list, if not nil, sets *hours to those that fn will
// probably roll. rolling runs fn again when another process or a move of minutes gets in between.
func (s *Store) rolling(ctx context.Context, list func(tx) error, hours *[]Key, fn func(tx) error) error {
	for attempt := 1; ; attempt++ {
		if list != nil {
			if err := s.backend.view(ctx, list); err != nil {
				return err
			}
		}
		early, err := s.readEarly(ctx, *hours, byHour.Width)
		if err != nil {
			return err
		}
		err = s.backend.update(ctx, func(t tx) error {
			t.old().early = early
			return fn(t)
		})
		if !isConflict(err) && !errors.Is(err, errMoved) || attempt == maxAttempts || ctx.Err() != nil {
			return err
		}
	}
}

// rollHour rolls the hour for all devices if it is due, and returns for how many it has rolled it.
// It first sets the state of an hour that is to be closed to hourClosing: from then on, writers mark
// what they change in it, so no event is missed between reading the minutes and closing the hour.
func (s *Store) rollHour(ctx context.Context, h hourInfo, p rollPolicy, now time.Time) (rolled int, err error) {
	opened, last := time.Unix(h.OpenedAt, 0), time.Unix(h.RolledAt, 0)
	next, end := hourOpen, time.Unix(h.Hour+byHour.Width, 0)
	if end.Before(opened) {
		end = opened
	}
	switch {
	case h.State == hourClosing || !now.Before(end.Add(p.Settle)):
		next = hourClosed
		if ok, err := s.setHour(ctx, h.Hour, h.State, hourClosing, last); err != nil || !ok {
			return 0, err
		}
		h.State = hourClosing
	case now.Sub(opened) >= p.Refresh && now.Sub(last) >= p.Refresh:
	default:
		return 0, nil
	}
	var keys []Key
	if err := s.backend.view(ctx, func(t tx) (err error) { keys, err = t.devices(ctx, h.Hour); return err }); err != nil {
		return 0, err
	}
	for chunk := range slices.Chunk(keys, rollChunk) {
		alone := false
		err := s.rolling(ctx, nil, &chunk, func(t tx) (err error) {
			if alone, err = t.lockRoller(ctx); err != nil || !alone {
				return err
			}
			return s.rollKeys(ctx, t, chunk, now)
		})
		if err != nil || !alone { // another process rolls; it or a later pass rolls this hour
			return rolled, err
		}
		rolled += len(chunk)
	}
	_, err = s.setHour(ctx, h.Hour, h.State, next, now)
	return rolled, err
}

func (s *Store) setHour(ctx context.Context, hour int64, from, to hourState, rolledAt time.Time) (ok bool, err error) {
	err = s.backend.update(ctx, func(t tx) (err error) { ok, err = t.setHour(ctx, hour, from, to, rolledAt); return err })
	return ok, err
}

// rollKeys computes the given hours of devices from their minutes, and then the days of these
// hours from all their hours, and replaces the stored ones.
func (s *Store) rollKeys(ctx context.Context, t tx, hours []Key, now time.Time) error {
	if err := s.rollInto(ctx, t, byMinute, byHour, hours, now); err != nil {
		return err
	}
	days := make([]Key, 0, len(hours))
	for _, k := range hours {
		days = append(days, Key{k.Fleet, k.Device, byDay.floor(k.Bucket)})
	}
	slices.SortFunc(days, Key.compare)
	return s.rollInto(ctx, t, byHour, byDay, slices.Compact(days), now)
}

func (s *Store) rollInto(ctx context.Context, t tx, from, to resolution, keys []Key, now time.Time) error {
	if len(keys) == 0 {
		return nil
	}
	sums := make(map[Key]*windowRow, len(keys))
	err := t.spans(ctx, from, keys, to.Width, func(r *windowRow) error {
		foldInto(sums, Key{r.Fleet, r.Device, to.floor(r.Bucket)}, r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading %s windows: %w", from.Name, err)
	}
	rows := slices.SortedFunc(maps.Values(sums), func(a, b *windowRow) int { return a.compare(b.Key) })
	if err := t.replace(ctx, to, rows, now); err != nil {
		return fmt.Errorf("replacing %s windows: %w", to.Name, err)
	}
	return nil
}
