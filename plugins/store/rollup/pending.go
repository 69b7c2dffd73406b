package rollup

import (
	"context"
	"slices"
)

// pendingTx reads minutes with what the journals of all processes have, in the snapshot of the
// transaction: events that a row lacks are merged into it by its ledger, as the process that has
// them in its journal will do. It is for one query, which must read nothing outside the span.
type pendingTx struct {
	tx
	of      span
	windows map[Key]*Window // nil: not read yet
}

// read reads the windows of the span in all journals, once.
func (t *pendingTx) read(ctx context.Context) error {
	if t.windows != nil {
		return nil
	}
	windows := map[Key]*Window{}
	err := t.journal().(parted).meeting(ctx, t.of, func(body []byte) error {
		some, err := decodeEntry(body)
		for _, w := range some {
			if !t.of.has(w.Key) {
				continue
			}
			w.counted()
			if have := windows[w.Key]; have != nil {
				have.events = append(have.events, w.events...)
			} else {
				windows[w.Key] = w
			}
		}
		return err
	})
	if err == nil {
		t.windows = windows
	}
	return err
}

// within returns the windows in journals for which wanted is true.
func (t *pendingTx) within(ctx context.Context, wanted func(Key) bool) (map[Key]*Window, error) {
	if err := t.read(ctx); err != nil || len(t.windows) == 0 {
		return nil, err
	}
	some := make(map[Key]*Window)
	for k, w := range t.windows {
		if wanted(k) {
			some[k] = w
		}
	}
	return some, nil
}

// merged passes the rows that each passes on to fn, with what the windows add to them, and the
// windows that have no row. each must pass on the rows of all these windows.
func (t *pendingTx) merged(ctx context.Context, some map[Key]*Window, each func(func(*windowRow) error) error,
	fn func(*windowRow) error) error {
	var both []Key
	err := each(func(r *windowRow) error {
		if some[r.Key] != nil {
			both = append(both, r.Key)
			return nil
		}
		return fn(r)
	})
	if err != nil {
		return err
	}
	with := func(r *windowRow) error {
		t.complete(r)
		return fn(r)
	}
	alone := make(map[Key]bool, len(some))
	for k := range some {
		alone[k] = true
	}
	for chunk := range slices.Chunk(both, writeMost) {
		rows, err := t.tx.load(ctx, chunk) // again, with their ledgers
		if err != nil {
			return err
		}
		for _, r := range rows {
			if delete(alone, r.Key); err == nil {
				err = with(r)
			}
		}
		if err != nil {
			return err
		}
	}
	for k := range alone {
		if err := with(&windowRow{Key: k}); err != nil {
			return err
		}
	}
	return nil
}

// complete merges into a row, which must have its ledger, what it lacks.
func (t *pendingTx) complete(r *windowRow) {
	if w := t.windows[r.Key]; w != nil {
		for i := range w.events {
			r.merge(&w.events[i], func(s string) string { return s })
		}
	}
}

func (t *pendingTx) load(ctx context.Context, keys []Key) ([]*windowRow, error) {
	if err := t.read(ctx); err != nil { // before the rows: an event leaves a journal only after it is in a row
		return nil, err
	}
	rows, err := t.tx.load(ctx, keys)
	if err != nil {
		return nil, err
	}
	have := make(map[Key]bool, len(rows))
	for _, r := range rows {
		have[r.Key] = true
		t.complete(r)
	}
	for _, k := range keys {
		if t.windows[k] != nil && !have[k] {
			have[k] = true
			r := &windowRow{Key: k}
			t.complete(r)
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (t *pendingTx) scan(ctx context.Context, res resolution, s span, fn func(*windowRow) error) error {
	if res != byMinute {
		return t.tx.scan(ctx, res, s, fn)
	}
	some, err := t.within(ctx, s.has)
	if err != nil {
		return err
	}
	return t.merged(ctx, some, func(each func(*windowRow) error) error { return t.tx.scan(ctx, res, s, each) }, fn)
}

func (t *pendingTx) spans(ctx context.Context, res resolution, keys []Key, width int64,
	fn func(*windowRow) error) error {
	if res != byMinute {
		return t.tx.spans(ctx, res, keys, width, fn)
	}
	starts := make(map[Key]bool, len(keys))
	for _, k := range keys {
		starts[k] = true
	}
	some, err := t.within(ctx, func(k Key) bool {
		k.Bucket -= mod(k.Bucket, width)
		return starts[k]
	})
	if err != nil {
		return err
	}
	return t.merged(ctx, some, func(each func(*windowRow) error) error {
		return t.tx.spans(ctx, res, keys, width, each)
	}, fn)
}

func (t *pendingTx) newest(ctx context.Context, fleet, device string, n int) ([]*windowRow, error) {
	rows, err := t.tx.newest(ctx, fleet, device, n)
	if err != nil {
		return nil, err
	}
	some, err := t.within(ctx, func(k Key) bool {
		return k.Fleet == fleet && k.Device == device && (len(rows) < n || k.Bucket >= rows[len(rows)-1].Bucket)
	})
	if err != nil || len(some) == 0 {
		return rows, err
	}
	var out []*windowRow
	err = t.merged(ctx, some, func(each func(*windowRow) error) error {
		for _, r := range rows {
			if err := each(r); err != nil {
				return err
			}
		}
		return nil
	}, func(r *windowRow) error { out = append(out, r); return nil })
	slices.SortFunc(out, func(a, b *windowRow) int { return b.Key.compare(a.Key) })
	return out[:min(n, len(out))], err
}

// markedMost is up to how many devices an hour is computed for one by one. With more devices in
// journals, the hour counts as open, and is computed for all.
const markedMost = 500

// unsettled adds the hours of which journals have events: these are in no row of an hour or day.
func (t *pendingTx) unsettled(ctx context.Context, s span) (open []int64, marked []Key, err error) {
	if open, marked, err = t.tx.unsettled(ctx, s); err != nil {
		return nil, nil, err
	}
	wider := s
	wider.From = byHour.floor(max(s.From, fromAlways))
	some, err := t.within(ctx, wider.has)
	if err != nil || len(some) == 0 {
		return open, marked, err
	}
	known := make(map[Key]bool, len(marked))
	for _, k := range marked {
		known[k] = true
	}
	hours := map[int64][]Key{}
	for k := range some {
		k.Bucket = byHour.floor(k.Bucket)
		if !known[k] && !slices.Contains(open, k.Bucket) {
			known[k] = true
			hours[k.Bucket] = append(hours[k.Bucket], k)
		}
	}
	for hour, keys := range hours {
		if len(keys) > markedMost {
			open = append(open, hour)
		} else {
			marked = append(marked, keys...)
		}
	}
	return open, marked, nil
}

// settledDays returns the days of which journals have no events.
func settledDays(ctx context.Context, t tx, days []int64) ([]int64, error) {
	p, is := t.(*pendingTx)
	if !is || len(days) == 0 {
		return days, nil
	}
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	for k := range p.windows {
		days = slices.DeleteFunc(days, func(d int64) bool { return d == byDay.floor(k.Bucket) })
	}
	return days, nil
}
