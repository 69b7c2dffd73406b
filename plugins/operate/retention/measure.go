package retention

import (
	"context"
	"errors"
	"fmt"

	"weir/internal/lifecycle"
	"weir/internal/platform/storeurl"
)

// measure tells how large the stores are, and what room their disks have. What
// cannot be told keeps its last value.
func (r *processor) measure(ctx context.Context) {
	r.measuring.Lock() // pipelines may have several threads
	defer r.measuring.Unlock()
	at := lifecycle.NewPlaces(r.res, r.urls)
	defer at.Close()
	sizes, rows, err := r.sizes(ctx, at)
	if err != nil {
		r.res.Logger().Warnf("measuring the stores is tried again: %v", err)
	}
	for store, n := range sizes {
		r.stored.Set(n, store)
	}
	for store, n := range rows {
		r.storedRows.Set(n, store)
	}
	for place, url := range r.urls {
		if free, _, ok := storeurl.Disk(url); ok {
			r.free.Set(int64(free), string(place))
		}
	}
}

// counting is a store that can tell how many rows it has, without reading them.
type counting interface {
	Rows(ctx context.Context, known map[string]int64) (n int64, tells bool, err error)
}

// sizes are the bytes of objects and of databases, by place; old_rollups are the
// objects of old minutes. Rows are those of the stores that tell.
func (r *processor) sizes(ctx context.Context, at *lifecycle.Places) (sizes, rows map[string]int64, err error) {
	sizes, rows = map[string]int64{}, map[string]int64{}
	var failures []error
	for _, kind := range r.list {
		if kind.Place == lifecycle.Control { // rows alone
			continue
		}
		name := string(kind.Place)
		if kind.Place.SQL() {
			name = "old_" + name
		}
		store, err := kind.Open(ctx, at)
		if err == nil {
			var n int64
			if n, err = store.Bytes(ctx); err == nil {
				sizes[name] += n
			}
			if c, is := store.(counting); is && err == nil {
				err = r.rowsOf(ctx, kind.Name, c, rows)
			}
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", kind.Name, err))
		}
	}
	for _, place := range []lifecycle.Place{lifecycle.Rollups, lifecycle.Control} {
		if place == lifecycle.Control && r.urls[place] == r.urls[lifecycle.Rollups] {
			continue // one database
		}
		db, err := at.SQL(ctx, place)
		if err == nil {
			var n int64
			if n, err = db.Size(ctx); err == nil {
				sizes[string(place)] = n
			}
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", place, err))
		}
	}
	return sizes, rows, errors.Join(failures...)
}

func (r *processor) rowsOf(ctx context.Context, store string, c counting, rows map[string]int64) error {
	known := r.objectRows[store]
	if known == nil {
		known = map[string]int64{}
		r.objectRows[store] = known
	}
	n, tells, err := c.Rows(ctx, known)
	if err == nil && tells {
		rows[store] = n
	}
	return err
}
