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

// Kept describes a store of objects for retention and erasure.
type Kept struct {
	Name    string
	Place   lifecycle.Place
	Below   string // the folder in the place; "": the place itself
	Keep    lifecycle.Keep
	Table   *Table
	Counted string  // the name under which erased rows are counted
	Few     bool    // it has few rows, so the footers of all objects may be read to count them
	Beside  *Beside // may be nil
}

// Beside describes data in the control store that belongs to rows, and is erased before them.
type Beside struct {
	Prepare func(context.Context, *sqldb.DB) error
	ID      func(Ref) [16]byte
	Count   func(ctx context.Context, db *sqldb.DB, ids [][16]byte, into map[string]int64) error
	// Erase runs in one transaction, and counts what it deletes under the job.
	Erase func(ctx context.Context, db *sqldb.DB, job string, ids [][16]byte) error
}

// Kind returns the description of the store for package lifecycle.
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

// kept is an opened store.
type kept struct {
	Kept
	store *Store
	at    *lifecycle.Places

	mu     sync.Mutex
	looked map[string]map[string]bool // by job: keys of objects that were processed
}

// lookedMost bounds the jobs in looked, where a job that another process has finished would stay.
const lookedMost = 64

// Expire also merges small objects, which does not depend on holds, and maintains the bucket's
// lifecycle rules.
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

// Rows returns the number of rows, if there are few objects. known has those of objects whose
// footers were read before; objects do not change.
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

// Count counts a row once, even if it belongs to several.
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

// Erase records the number of rows of each object before it deletes them.
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

// collect returns a function that collects the ids of rows, if the control store has data of them.
func (k *kept) collect(ids *[][16]byte) func(Ref) {
	if k.Beside == nil {
		return nil
	}
	return func(r Ref) { *ids = append(*ids, k.Beside.ID(r)) }
}

// control returns the control store, which has the counts of erasures and what belongs to rows.
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
