package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/lifecycle"
	"weir/internal/platform/broker"
	"weir/internal/platform/kafka"
	"weir/internal/platform/storeurl"
	"weir/plugins/process/dedupe"
	"weir/plugins/store/lake"
)

// measure sets the metrics of the sizes of the stores and the free space of their disks. A size
// that cannot be measured keeps its last value.
func (r *processor) measure(ctx context.Context) {
	r.measuring.Lock() // pipelines may have several threads
	defer r.measuring.Unlock()
	at := lifecycle.NewPlaces(r.res, r.urls)
	defer at.Close()
	sizes, rows, err := r.sizes(ctx, at)
	err = errors.Join(err, r.beside(ctx, sizes))
	switch said := r.failed; {
	case ctx.Err() != nil: // weir is stopping
	case err == nil:
		r.failed = ""
	default:
		if r.failed = err.Error(); r.failed != said { // a missing privilege is logged once
			r.res.Logger().Warnf("measuring the stores is tried again: %v", err)
		}
	}
	for store, n := range sizes {
		r.stored.Set(n, store)
	}
	for store, n := range rows {
		r.storedRows.Set(n, store)
	}
	r.room()
}

// room sets the metric of the free space of disks on this machine that have stores.
func (r *processor) room() {
	tell := func(store, url string) {
		if free, _, ok := storeurl.Disk(url); ok {
			r.free.Set(int64(free), store)
		}
	}
	for place, url := range r.urls {
		tell(string(place), url)
	}
	tell(storeClaims, r.claims)
}

// Labels of what is measured but is no store of the list.
const (
	storeLog, storeClaims, storeVersions = "log", "claims", "versions"
	storeOld                             = "old_" + string(lifecycle.Rollups)
)

// beside measures what is no store of the list: retention deletes nothing there, but it fills disks
// and memory.
func (r *processor) beside(ctx context.Context, sizes map[string]int64) error {
	var failures []error
	if r.old != "" {
		n, err := r.objectBytes(ctx, r.old)
		if err == nil {
			sizes[storeOld] = n
		} else {
			failures = append(failures, fmt.Errorf("%s: %w", storeOld, err))
		}
	}
	n, keep, err := r.earlierBytes(ctx)
	if err != nil {
		failures = append(failures, err)
	} else if keep {
		sizes[storeVersions] = n
	}
	if r.log != nil {
		n, err := logBytes(ctx, *r.log)
		if err == nil {
			sizes[storeLog] = n
		} else {
			failures = append(failures, fmt.Errorf("%s: %w", storeLog, r.log.Explain(err)))
		}
	}
	if r.claims != "" {
		n, ok, err := dedupe.Size(ctx, r.claims)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", storeClaims, err))
		} else if ok {
			sizes[storeClaims] = n
		}
	}
	return errors.Join(failures...)
}

// objectBytes returns the bytes of all objects of a store, whether anything names them or not.
func (r *processor) objectBytes(ctx context.Context, url string) (n int64, err error) {
	store, release, err := lake.Shared(ctx, r.res, url)
	if err != nil {
		return 0, err
	}
	defer release()
	err = store.List(ctx, "", func(b lake.Blob) error {
		n += b.Size
		return nil
	})
	return n, err
}

// earlierBytes returns the bytes of replaced and deleted objects that buckets with versioning keep;
// keep tells whether any bucket does.
func (r *processor) earlierBytes(ctx context.Context) (n int64, keep bool, err error) {
	seen := map[string]bool{"": true}
	for _, url := range []string{r.urls[lifecycle.Raw], r.urls[lifecycle.DeadLetters], r.old} {
		if seen[url] {
			continue
		}
		seen[url] = true
		store, release, err := lake.Shared(ctx, r.res, url)
		if err != nil {
			return 0, false, err
		}
		more, keeps, err := store.Earlier(ctx)
		release()
		if err != nil {
			return 0, false, err
		}
		n, keep = n+more, keep || keeps
	}
	return n, keep, nil
}

// logTimeout bounds how long brokers may take to tell the sizes of topics.
const logTimeout = 30 * time.Second

// logBytes returns the bytes of weir's topics.
func logBytes(ctx context.Context, log kafka.Cluster) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	client, err := kgo.NewClient(log.Options("weir-retention")...)
	if err != nil {
		return 0, fmt.Errorf("opening a client of the log: %w", err)
	}
	defer client.Close()
	var names []string
	for _, t := range broker.ClusterTopics() {
		names = append(names, t.Name)
	}
	return kafka.Positions{Admin: kadm.NewClient(client)}.Bytes(ctx, names...)
}

// counting is a store that can tell its number of rows without reading them.
type counting interface {
	Rows(ctx context.Context, known map[string]int64) (n int64, tells bool, err error)
}

// sizes returns the bytes of objects and of databases, by place; old_rollups are the objects of old
// minutes. rows are the numbers of rows of the stores that can tell them.
func (r *processor) sizes(ctx context.Context, at *lifecycle.Places) (sizes, rows map[string]int64, err error) {
	sizes, rows = map[string]int64{}, map[string]int64{}
	var failures []error
	for _, kind := range r.list {
		if kind.Place == lifecycle.Control { // it has only rows
			continue
		}
		name := string(kind.Place)
		if kind.Place.SQL() {
			name = storeOld
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
