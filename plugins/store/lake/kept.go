package lake

import (
	"context"
	"maps"
	"sync"
	"time"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// Kept is what a store of objects is to lifecycle.
type Kept struct {
	Name    string
	Place   lifecycle.Place
	Below   string // the folder of the place in which it lies; "" is the place itself
	Keep    lifecycle.Keep
	Table   *Table
	Counted string  // what an erasure counts rows as
	Few     bool    // so few rows that every object may be asked how many it has
	Beside  *Beside // nil: nothing
}

// Beside is what the control store has of rows, and goes before them.
type Beside struct {
	Prepare func(context.Context, *sqldb.DB) error
	ID      func(Ref) [16]byte
	Count   func(ctx context.Context, db *sqldb.DB, ids [][16]byte, into map[string]int64) error
	// Erase is one transaction, which counts what it deletes under the job.
	Erase func(ctx context.Context, db *sqldb.DB, job string, ids [][16]byte) error
}

// Kind declares the store.
func (k Kept) Kind() lifecycle.Kind {
	return lifecycle.Kind{Name: k.Name, Place: k.Place, Below: k.Below, Keep: []lifecycle.Keep{k.Keep},
		Open: func(ctx context.Context, at *lifecycle.Places) (lifecycle.Store, error) {
			store, release, err := Shared(ctx, at.Resources(), at.URL(k.Place))
			if err != nil {
				return nil, err
			}
			at.OnClose(release)
			if k.Below != "" {
				store = store.Below(k.Below)
			}
			return &kept{Kept: k, store: store, at: at, looked: map[string]map[string]bool{}}, nil
		}}
}

// kept is an opened Kept.
type kept struct {
	Kept
	store *Store
	at    *lifecycle.Places

	mu     sync.Mutex
	looked map[string]map[string]bool // by job: objects that do not change any more
}

// lookedMost bounds the jobs that looked remembers: one that another process
// finished stays in it.
const lookedMost = 64

// Expire also merges small objects, which needs no holds, and keeps the bucket's
// rules.
func (k *kept) Expire(ctx context.Context, u lifecycle.Upkeep) ([]lifecycle.Share, error) {
	s := lifecycle.Share{Store: k.Name, Place: k.store.Name(), OlderThan: u.Before(0)}
	done, err := Duty{Table: k.Table, Keep: u.Keep[0], Compact: u.Compact, Lifecycle: u.Rules}.Do(ctx, k.store, u.Pass)
	s.Removed, s.Merged, s.Into, s.Repeats, s.Rules = done.Retention, done.Merged, done.Into, done.Repeats,
		string(done.Lifecycle)
	return []lifecycle.Share{s}, err
}

func (k *kept) Bytes(ctx context.Context) (total int64, err error) {
	objects, err := k.store.Objects(ctx, Select{})
	for _, o := range objects {
		total += o.Size
	}
	return total, err
}

// Rows is how many there are, where they are few. Known are those of objects that
// were asked before: they do not change.
func (k *kept) Rows(ctx context.Context, known map[string]int64) (total int64, tells bool, err error) {
	if !k.Few {
		return 0, false, nil
	}
	objects, err := k.store.Objects(ctx, Select{})
	if err != nil {
		return 0, true, err
	}
	var fresh []Object
	there := map[string]bool{}
	for _, o := range objects {
		there[o.Key] = true
		if _, asked := known[o.Key]; !asked {
			fresh = append(fresh, o)
		}
	}
	maps.DeleteFunc(known, func(key string, _ int64) bool { return !there[key] })
	err = k.store.Footers(ctx, fresh, func(f Footer) error {
		known[f.Key] = f.Rows
		return nil
	})
	for _, n := range known {
		total += n
	}
	return total, true, err
}

func (k *kept) Bury(ctx context.Context, stone tombstone.Stone) error {
	return k.store.Bury(ctx, stone)
}

// Count counts a row once, however many it is of.
func (k *kept) Count(ctx context.Context, fleet string, of ...tombstone.Who) (map[string]int64, error) {
	if len(of) == 0 {
		return nil, nil
	}
	control, err := k.control(ctx)
	if err != nil {
		return nil, err
	}
	var ids [][16]byte
	e := Erasure{Fleet: fleet, Device: of[0].Device, Name: of[0].Name, also: of[1:],
		Until: time.Now().AddDate(100, 0, 0), DryRun: true, Row: k.collect(&ids)}
	removed, err := k.store.Erase(ctx, k.Table, e)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{k.Counted: removed.Rows}
	if k.Beside != nil {
		err = k.Beside.Count(ctx, control, ids, counts)
	}
	return counts, err
}

// Erase notes the rows of an object before they go.
func (k *kept) Erase(ctx context.Context, e lifecycle.Erasure) error {
	control, err := k.control(ctx)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	if e.Again {
		k.mu.Lock()
		maps.Copy(seen, k.looked[e.Job])
		k.mu.Unlock()
	}
	var ids [][16]byte
	_, err = k.store.Erase(ctx, k.Table, Erasure{Fleet: e.Fleet, Device: e.Device, Name: e.Name,
		Until: time.UnixMicro(e.Until), Seen: seen, Row: k.collect(&ids),
		Before: func(o Object, rows int64) error {
			if err := e.Held(); err != nil {
				return err
			}
			if k.Beside != nil {
				if err := k.Beside.Erase(ctx, control, e.Job, ids); err != nil {
					return err
				}
				ids = nil
			}
			return tombstone.Note(ctx, control, e.Job, k.Counted, o.Key, rows)
		}})
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.looked) >= lookedMost {
		clear(k.looked)
	}
	if k.looked[e.Job] = seen; e.Again {
		delete(k.looked, e.Job)
	}
	return nil
}

// collect notes the ids of rows, where something goes with them.
func (k *kept) collect(ids *[][16]byte) func(Ref) {
	if k.Beside == nil {
		return nil
	}
	return func(r Ref) { *ids = append(*ids, k.Beside.ID(r)) }
}

// control is the database that has what is counted, and what lies beside rows.
func (k *kept) control(ctx context.Context) (*sqldb.DB, error) {
	db, err := k.at.SQL(ctx, lifecycle.Control)
	if err != nil {
		return nil, err
	}
	if err := tombstone.Migrate(ctx, db); err != nil {
		return nil, err
	}
	if k.Beside != nil && k.Beside.Prepare != nil {
		err = k.Beside.Prepare(ctx, db)
	}
	return db, err
}
