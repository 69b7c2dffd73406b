package rollup

import (
	"context"
	"slices"
)

// each passes every window of a resolution within a span to fn, once, in any order. Windows that
// are not rolled, or are outdated, are computed from finer ones.
func each(ctx context.Context, t tx, res resolution, s span, fn func(*windowRow) error) error {
	if res == byMinute {
		return t.scan(ctx, res, s, fn)
	}
	open, marked, err := t.unsettled(ctx, s)
	if err != nil {
		return err
	}
	if res == byDay {
		return eachDay(ctx, t, s, open, marked, fn)
	}
	stale := map[Key]bool{}
	for _, k := range marked {
		stale[k] = true
	}
	for _, h := range open {
		stale[Key{Bucket: h}] = true
	}
	err = t.scan(ctx, res, s, func(r *windowRow) error {
		if stale[r.Key] || stale[Key{Bucket: r.Bucket}] {
			return nil
		}
		return fn(r)
	})
	for _, h := range open {
		if err == nil {
			err = eachFolded(ctx, t, byHour, span{Fleet: s.Fleet, Devices: s.Devices, From: h, To: h + byHour.Width}, fn)
		}
	}
	marked = slices.DeleteFunc(marked, func(k Key) bool { return slices.Contains(open, k.Bucket) })
	if err != nil || len(marked) == 0 {
		return err
	}
	sums := map[Key]*windowRow{}
	if err := t.spans(ctx, byMinute, marked, byHour.Width, func(r *windowRow) error {
		foldInto(sums, Key{r.Fleet, r.Device, byHour.floor(r.Bucket)}, r)
		return nil
	}); err != nil {
		return err
	}
	return handOn(sums, fn)
}

func foldInto(sums map[Key]*windowRow, key Key, r *windowRow) {
	sum := sums[key]
	if sum == nil {
		sum = &windowRow{Key: key}
		sums[key] = sum
	}
	sum.fold(r)
}

func handOn(sums map[Key]*windowRow, fn func(*windowRow) error) error {
	for _, sum := range sums {
		if err := fn(sum); err != nil {
			return err
		}
	}
	return nil
}

// eachDay is each for days. It computes from their hours the days that have an unsettled hour.
func eachDay(ctx context.Context, t tx, s span, open []int64, marked []Key, fn func(*windowRow) error) error {
	stale := map[int64]bool{}
	for _, h := range open {
		stale[byDay.floor(h)] = true
	}
	for _, k := range marked {
		stale[byDay.floor(k.Bucket)] = true
	}
	err := t.scan(ctx, byDay, s, func(r *windowRow) error {
		if stale[r.Bucket] {
			return nil
		}
		return fn(r)
	})
	for day := range stale {
		if err == nil && day >= s.From && day < s.To {
			err = eachFolded(ctx, t, byDay, span{Fleet: s.Fleet, Devices: s.Devices, From: day, To: day + byDay.Width}, fn)
		}
	}
	return err
}

// eachFolded computes, for every device, the one window that the span covers from windows of the
// next finer resolution.
func eachFolded(ctx context.Context, t tx, res resolution, s span, fn func(*windowRow) error) error {
	finer := byMinute
	if res == byDay {
		finer = byHour
	}
	sums := map[Key]*windowRow{}
	err := each(ctx, t, finer, s, func(r *windowRow) error {
		foldInto(sums, Key{r.Fleet, r.Device, s.From}, r)
		return nil
	})
	if err != nil {
		return err
	}
	return handOn(sums, fn)
}
