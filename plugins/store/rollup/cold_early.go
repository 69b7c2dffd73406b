package rollup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/plugins/store/lake"
)

// early holds windows that were read from objects before the transaction that needs them.
// Reading objects may take seconds, and others wait for the locks of the transaction. The
// transaction still looks up which objects are published. An object never changes, so what
// was read early is what the transaction would read; an object that was published since
// was not read early, and the transaction reads it itself.
type early struct {
	width   int64
	starts  map[Key]bool
	objects map[string][]*windowRow
}

// readEarly reads from objects the windows that begin within width seconds from each key.
// For whole minutes it leaves out the windows that have rows. It returns nil when there is
// nothing to read.
func (s *Store) readEarly(ctx context.Context, keys []Key, width int64) (*early, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	e := &early{width: width, starts: make(map[Key]bool, len(keys)), objects: map[string][]*windowRow{}}
	for _, k := range keys {
		e.starts[k] = true
	}
	var objects []coldObject
	of := owners{}
	err := s.backend.view(ctx, func(t tx) (err error) {
		objects, of, err = t.old().wanted(ctx, keys, width)
		return err
	})
	if err != nil || len(objects) == 0 {
		return nil, err
	}
	url, err := s.oldURL(ctx)
	if err != nil {
		return nil, err
	}
	store, err := s.cold.open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("opening the store of old minutes: %w", err)
	}
	for _, o := range objects {
		rows := []*windowRow{}
		err := eachCold(ctx, store, o, of, func(r *windowRow) error {
			if e.has(r.Key) {
				rows = append(rows, r)
			}
			return nil
		})
		if errors.Is(err, lake.ErrNotFound) {
			continue // replaced; the transaction will read the new object
		}
		if err != nil {
			return nil, err
		}
		e.objects[o.Key] = rows
	}
	return e, nil
}

// wanted returns the objects that may have the windows, and the owners of the windows.
func (t *coldTx) wanted(ctx context.Context, keys []Key, width int64) (objects []coldObject, of owners, err error) {
	var days []int64
	for _, k := range keys {
		if d := byDay.floor(k.Bucket); !slices.Contains(days, d) {
			days = append(days, d)
		}
	}
	if found, err := t.anyOf(ctx, days); err != nil || !found {
		return nil, of, err
	}
	if width == byMinute.Width {
		rows, err := t.base.load(ctx, keys)
		if err != nil {
			return nil, of, err
		}
		have := make(map[Key]bool, len(rows))
		for _, r := range rows {
			have[r.Key] = true
		}
		keys = slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return have[k] })
	}
	for _, day := range days {
		some, err := t.objects(ctx, day, day+1,
			ownersOf(slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return byDay.floor(k.Bucket) != day })))
		if err != nil {
			return nil, of, err
		}
		objects = append(objects, some...)
	}
	return objects, ownersOf(keys), nil
}

func (e *early) has(k Key) bool {
	k.Bucket -= mod(k.Bucket, e.width)
	return e.starts[k]
}

// of returns e if it has all of these windows, else nil.
func (e *early) of(keys []Key, width int64) *early {
	if e == nil || width != e.width || slices.ContainsFunc(keys, func(k Key) bool { return !e.starts[k] }) {
		return nil
	}
	return e
}

// each passes the early windows of an object to fn; done is false if the object was not
// read early.
func (e *early) each(o coldObject, want owners, fn func(*windowRow) error) (done bool, err error) {
	if e == nil {
		return false, nil
	}
	rows, done := e.objects[o.Key]
	for _, r := range rows {
		if err == nil && want.wants(r.Key) {
			err = fn(r)
		}
	}
	return done, err
}

// oldOnes returns the windows of a batch that may have been moved and are not in memory.
// A day is moved at the earliest when it ended ledgersGone ago.
func (s *Store) oldOnes(windows []*Window, oldest int64, now time.Time) (keys []Key) {
	before := byDay.floor(now.Add(-ledgersGone).Unix())
	for _, w := range windows {
		if w.Bucket < before && w.Bucket >= oldest {
			keys = append(keys, w.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(keys, func(k Key) bool { return s.cache.get(k) != nil })
}
