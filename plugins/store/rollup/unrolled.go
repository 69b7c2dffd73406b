package rollup

import (
	"context"
	"slices"
)

// each hands on every window of a resolution within a span, once. What is not
// rolled yet it makes from finer windows. The order is unspecified.
func each(ctx context.Context, t tx, res Resolution, s span, fn func(*Row) error) error {
	if res == Minute {
		return t.scan(ctx, res, s, fn)
	}
	open, marked, err := t.unsettled(ctx, s)
	if err != nil {
		return err
	}
	if res == Day {
		return eachDay(ctx, t, s, open, marked, fn)
	}
	stale := map[Key]bool{}
	for _, k := range marked {
		stale[k] = true
	}
	for _, h := range open {
		stale[Key{Bucket: h}] = true
	}
	err = t.scan(ctx, res, s, func(r *Row) error {
		if stale[r.Key] || stale[Key{Bucket: r.Bucket}] {
			return nil
		}
		return fn(r)
	})
	for _, h := range open {
		if err == nil {
			err = eachFolded(ctx, t, Hour, span{s.Fleet, s.Devices, h, h + Hour.Width}, fn)
		}
	}
	marked = slices.DeleteFunc(marked, func(k Key) bool { return slices.Contains(open, k.Bucket) })
	if err != nil || len(marked) == 0 {
		return err
	}
	sums := map[Key]*Row{}
	if err := t.spans(ctx, Minute, marked, Hour.Width, func(r *Row) error {
		foldInto(sums, Key{r.Fleet, r.Device, Hour.floor(r.Bucket)}, r)
		return nil
	}); err != nil {
		return err
	}
	return handOn(sums, fn)
}

func foldInto(sums map[Key]*Row, key Key, r *Row) {
	sum := sums[key]
	if sum == nil {
		sum = &Row{Key: key}
		sums[key] = sum
	}
	sum.fold(r)
}

func handOn(sums map[Key]*Row, fn func(*Row) error) error {
	for _, sum := range sums {
		if err := fn(sum); err != nil {
			return err
		}
	}
	return nil
}

// eachDay makes days that hold an unsettled hour from their hours.
func eachDay(ctx context.Context, t tx, s span, open []int64, marked []Key, fn func(*Row) error) error {
	stale := map[int64]bool{}
	for _, h := range open {
		stale[Day.floor(h)] = true
	}
	for _, k := range marked {
		stale[Day.floor(k.Bucket)] = true
	}
	err := t.scan(ctx, Day, s, func(r *Row) error {
		if stale[r.Bucket] {
			return nil
		}
		return fn(r)
	})
	for day := range stale {
		if err == nil && day >= s.From && day < s.To {
			err = eachFolded(ctx, t, Day, span{s.Fleet, s.Devices, day, day + Day.Width}, fn)
		}
	}
	return err
}

// eachFolded makes one window of a span from the next finer resolution.
func eachFolded(ctx context.Context, t tx, res Resolution, s span, fn func(*Row) error) error {
	finer := Minute
	if res == Day {
		finer = Hour
	}
	sums := map[Key]*Row{}
	err := each(ctx, t, finer, s, func(r *Row) error {
		foldInto(sums, Key{r.Fleet, r.Device, s.From}, r)
		return nil
	})
	if err != nil {
		return err
	}
	return handOn(sums, fn)
}
