package rollup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// rollPolicy says when hours are made from their minutes.
type rollPolicy struct {
	// Settle is how long an hour stays open after its end, or after its first
	// event if that came later. What comes after that marks its device.
	Settle time.Duration
	// Refresh is how often an hour that is still open is rolled.
	Refresh time.Duration
}

// rollChunk is how many hours of devices one transaction rolls.
const rollChunk = 200

// roll brings hours and days up to date with the minutes: hours whose time has
// come, open ones now and then, and what late events marked. Coarse windows
// are computed anew from the finer ones and replaced, so that rolling twice,
// or again after a crash, changes nothing. What a minute's row lacks yet marks
// its hour when it is written. It returns how many hours of devices it rolled.
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

// rolling runs fn, which rolls hours of devices, in one transaction, for which what
// objects have of their minutes is read before. list, if any, finds which ones
// they may be. Another process, or who moves minutes, may come in between: then it
// is done again.
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

// rollHour rolls all devices of an hour if it is due. While an hour closes,
// writers already mark what they change in it, so nothing falls between the
// reading of its minutes and the closing.
func (s *Store) rollHour(ctx context.Context, h hourInfo, p rollPolicy, now time.Time) (int, error) {
	opened, rolled := time.Unix(h.OpenedAt, 0), time.Unix(h.RolledAt, 0)
	next, end := hourOpen, time.Unix(h.Hour+byHour.Width, 0)
	if end.Before(opened) {
		end = opened
	}
	switch {
	case h.State == hourClosing || !now.Before(end.Add(p.Settle)):
		next = hourClosed
		if ok, err := s.setHour(ctx, h.Hour, h.State, hourClosing, rolled); err != nil || !ok {
			return 0, err
		}
		h.State = hourClosing
	case now.Sub(opened) >= p.Refresh && now.Sub(rolled) >= p.Refresh:
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
		if err != nil || !alone { // another process rolls: it, or a later pass, does this hour
			return 0, err
		}
	}
	_, err := s.setHour(ctx, h.Hour, h.State, next, now)
	return len(keys), err
}

func (s *Store) setHour(ctx context.Context, hour int64, from, to hourState, rolledAt time.Time) (ok bool, err error) {
	err = s.backend.update(ctx, func(t tx) (err error) { ok, err = t.setHour(ctx, hour, from, to, rolledAt); return err })
	return ok, err
}

// rollKeys computes the given hours of devices from their minutes, then the
// days that they belong to from their hours, and replaces them.
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
