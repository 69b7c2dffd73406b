package rollup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/flow"
	"weir/internal/platform/sqldb"
)

// resolution is a width of windows.
type resolution struct {
	Name  string // 1m, 1h, 1d
	Width int64  // seconds
	table string
}

// The resolutions, finest first.
var (
	byMinute = resolution{"1m", 60, "rollup_window_1m"}
	byHour   = resolution{"1h", 3600, "rollup_window_1h"}
	byDay    = resolution{"1d", 86400, "rollup_window_1d"}
)

func (r resolution) floor(bucket int64) int64 { return bucket - mod(bucket, r.Width) }

// Store keeps rollups in a SQL database. It is safe for concurrent use, and any number of
// processes may write to one database.
type Store struct {
	backend
	limits Limits
	db     *sqldb.DB
	cold   *cold

	erased atomic.Pointer[erasures]

	parted bool // each process has its own part of the journal
	silent map[string]silence
	*memory
}

// Limits bound what a store keeps.
type Limits struct {
	Ledger time.Duration // how long a ledger is kept after the last write of its window
	Keep   time.Duration // how long a window is kept after its time; 0: without end
	Cache  int           // how many rows are kept in memory

	// WriteEvery is how long rows may lack events that are in the journal; with 0, every batch
	// writes its rows.
	WriteEvery time.Duration
}

// DefaultLimits returns the defaults of the output's fields. A caller that does not know how long
// this weir keeps windows sets Keep to 0: retention deletes those that are too old.
func DefaultLimits() Limits {
	return Limits{Ledger: 7 * 24 * time.Hour, Keep: 2 * 365 * 24 * time.Hour, Cache: 200_000, WriteEvery: time.Minute}
}

// backend is a kind of database.
type backend interface {
	// update runs fn in one transaction, which commits if fn returns nil.
	update(ctx context.Context, fn func(tx) error) error
	// view runs fn in one read transaction.
	view(ctx context.Context, fn func(tx) error) error
	migrate(ctx context.Context) error
}

// tx is a transaction. Minutes that were moved to objects are read like rows.
type tx interface {
	base
	// old returns the same transaction for code that knows about objects.
	old() *coldTx
}

// writer is the part of a transaction that merging a batch needs.
type writer interface {
	// load returns the rows of minutes that exist, by their keys, with their ledgers.
	load(ctx context.Context, keys []Key) ([]*windowRow, error)
	// lockHours returns which hours are closed or closing, and keeps the others open until the
	// transaction ends.
	lockHours(ctx context.Context, hours []int64, now time.Time) (closed map[int64]bool, err error)
	// write stores rows of minutes. Version of each is the one to write. It returns errConflict if
	// the version that is stored is not the one before.
	write(ctx context.Context, rows []*windowRow, now time.Time) error
	// mark marks hours of devices as to be rolled again.
	mark(ctx context.Context, hours []Key) error
}

var errConflict = errors.New("another writer changed the window")

func isConflict(err error) bool { return errors.Is(err, errConflict) }

// memoryKey is the key under which sqldb.DB.Beside keeps the memory of a database.
type memoryKey struct{}

// Open creates or migrates the tables in db, and returns a store on them.
func Open(ctx context.Context, db *sqldb.DB, limits Limits) (*Store, error) {
	s := &Store{limits: limits, db: db, cold: db.Beside(coldKey{}, func() any { return &cold{} }).(*cold)}
	s.memory = db.Beside(memoryKey{}, func() any { return newMemory() }).(*memory)
	switch db.Dialect {
	case sqldb.Postgres:
		s.backend, s.parted = newPostgres(db, s.cold, s.id), true
	default:
		s.backend = &sqlite{db: db, cold: s.cold}
	}
	if err := errors.Join(s.migrate(ctx), tombstone.Migrate(ctx, db)); err != nil {
		return nil, err
	}
	return s, nil
}

// oldest is the start of the oldest day that is kept: days go as a whole, so
// that an hour or a day is never rolled from only a part of its minutes.
func (s *Store) oldest(now time.Time) int64 {
	if s.limits.Keep <= 0 {
		return math.MinInt64
	}
	return byDay.floor(now.Add(-s.limits.Keep).Unix())
}

// Result says what the store did with the events of a batch.
type Result struct {
	Events    [outcomes]int
	Conflicts int // how often another writer was faster, so that the batch was merged again
}

// maxAttempts is how often a batch is merged at most, when other writers cause conflicts.
const maxAttempts = 20

// Add counts the events of the windows that no ledger has yet. When it returns nil, they are
// durable, in a row or in the journal, by one transaction. After an error none is or, if the
// connection broke during the commit, all may be; adding the same windows again is right in both
// cases.
func (s *Store) Add(ctx context.Context, windows []*Window, now time.Time) (res Result, err error) {
	for attempt := 1; ; attempt++ {
		conflicts := res.Conflicts
		res = Result{Conflicts: conflicts}
		early, err := s.readEarly(ctx, s.oldOnes(windows, s.oldest(now), now), byMinute.Width)
		if err == nil {
			err = s.addOnce(ctx, windows, now, early, &res)
		}
		if err == nil {
			return res, nil
		}
		if !isConflict(err) || attempt == maxAttempts || ctx.Err() != nil {
			return res, fmt.Errorf("merging %d windows: %w", len(windows), err)
		}
		res.Conflicts++
	}
}

// addOnce adds windows in one transaction, or returns an error, which may be a conflict.
func (s *Store) addOnce(ctx context.Context, windows []*Window, now time.Time, early *early, res *Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	written := s.written
	err := s.backend.update(ctx, func(t tx) error {
		if err := s.resume(ctx, t); err != nil {
			return err
		}
		t.old().early = early
		erased, err := s.honour(ctx, t)
		if err != nil {
			return err
		}
		var note *note
		if s.limits.WriteEvery > 0 {
			note = s.noteOf(windows, now)
			defer note.release()
		}
		s.now, s.added = now, s.clock()
		fresh := len(s.unwritten)
		if err := s.mergeAll(ctx, t, windows, erased, s.oldest(now), res, note); err != nil {
			return err
		}
		if note == nil {
			return s.writeOut(ctx, t, all)
		}
		if err := s.writeAlone(ctx, t, note, fresh); err != nil {
			return err
		}
		if err := s.enter(ctx, t, note, now, fresh); err != nil {
			return err
		}
		return s.writeFirst(ctx, t, s.excess(s.limits))
	})
	if err != nil {
		s.failed(written)
		return err
	}
	s.evicted += int64(s.cache.trim(s.limits.Cache, now.Unix()))
	return nil
}

// aloneAfter is the age from which a window's row is written with the batch instead of being noted
// in the journal, if the journal has parts. Events of old windows come many at a time, and these
// windows may have been moved to objects.
const aloneAfter = 24 * time.Hour

// noteOf returns an empty note for a batch.
func (s *Store) noteOf(windows []*Window, now time.Time) *note {
	if !s.parted {
		s.note.begin(0)
		return &s.note
	}
	s.note.begin(noteBytes(windows))
	before := now.Add(-aloneAfter).Unix()
	s.note.alone = func(r *windowRow) bool { return r.cold || r.Bucket < before }
	return &s.note
}

// mergeAll merges the windows into their rows, and adds to note what it counts. It reads rows that
// are not in the cache. Events of windows before oldest count as expired.
func (s *Store) mergeAll(ctx context.Context, t tx, windows []*Window, erased *tombstone.Set, oldest int64, res *Result,
	note *note) error {
	s.batch++
	touched := make([]*entry, 0, len(windows))
	var missing []Key
	rows := make([]*entry, len(windows))
	for i, w := range windows {
		if w.Bucket < oldest {
			continue
		}
		if rows[i] = s.cache.get(w.Key); rows[i] == nil && !s.cache.whole(w.Bucket) {
			missing = append(missing, w.Key)
		}
	}
	if len(missing) > 0 {
		loaded, err := t.load(ctx, missing)
		if err != nil {
			return fmt.Errorf("reading windows: %w", err)
		}
		s.read += int64(len(loaded))
		for _, r := range loaded {
			if s.cache.get(r.Key) == nil {
				for _, m := range r.Metrics {
					m.Name = s.intern(m.Name)
				}
				touched = append(touched, s.cache.put(r))
			}
		}
	}
	var loop flow.Yielder
	for i, w := range windows {
		if i%64 == 0 {
			loop.Yield()
		}
		if w.Bucket < oldest {
			res.Events[outcomeExpired] += len(w.events)
			continue
		}
		e := rows[i]
		if e == nil {
			if e = s.cache.get(w.Key); e == nil {
				e = s.cache.begin(Key{s.intern(w.Fleet), strings.Clone(w.Device), w.Bucket})
			}
		}
		if e.batch != s.batch {
			e.batch, e.used = s.batch, s.now.Unix()
			touched = append(touched, e)
		}
		counted := 0
		var entry *entryWriter
		if note != nil && (e.unwritten || note.alone == nil || !note.alone(e.row)) {
			entry = note.of(w.Key)
		}
		for n := range w.events {
			if w.erased(n, erased) {
				res.Events[outcomeErased]++
				continue
			}
			o := e.row.merge(&w.events[n], s.intern)
			if res.Events[o]++; o != outcomeCounted {
				continue
			}
			if counted++; entry != nil {
				if counted == 1 {
					entry.window(w.Key)
				}
				entry.event(w.Bucket, &w.events[n])
			}
		}
		if counted > 0 {
			s.changed(e)
		}
	}
	for _, e := range touched {
		if e.row.cold && !e.unwritten {
			s.cache.drop(e) // it may be moved again; the next batch that needs it reads it
		}
	}
	return nil
}

// store writes sorted rows of minutes. It keeps open hours of these rows open until the
// transaction ends, and marks the hours that are closed.
func (s *Store) store(ctx context.Context, t tx, rows []*windowRow, now time.Time) error {
	var hours []int64
	for _, r := range rows {
		if h := byHour.floor(r.Bucket); len(hours) == 0 || hours[len(hours)-1] != h {
			hours = append(hours, h)
		}
	}
	slices.Sort(hours)
	closed, err := t.lockHours(ctx, slices.Compact(hours), now)
	if err != nil {
		return fmt.Errorf("keeping hours open: %w", err)
	}
	if err := t.write(ctx, rows, now); err != nil {
		return fmt.Errorf("writing windows: %w", err)
	}
	var marks []Key
	for _, r := range rows {
		if k := (Key{r.Fleet, r.Device, byHour.floor(r.Bucket)}); closed[k.Bucket] &&
			(len(marks) == 0 || marks[len(marks)-1] != k) {
			marks = append(marks, k)
		}
	}
	if len(marks) == 0 {
		return nil
	}
	if err := t.mark(ctx, marks); err != nil {
		return fmt.Errorf("marking hours: %w", err)
	}
	return nil
}

// compare orders by fleet, device and time.
func (k Key) compare(o Key) int {
	if c := strings.Compare(k.Fleet, o.Fleet); c != 0 {
		return c
	}
	if c := strings.Compare(k.Device, o.Device); c != 0 {
		return c
	}
	return cmp.Compare(k.Bucket, o.Bucket)
}

// intern returns a copy of the name that all rows share.
func (s *Store) intern(name string) string {
	if have, ok := s.names[name]; ok {
		return have
	}
	if len(s.names) >= maxNames {
		clear(s.names)
	}
	name = strings.Clone(name)
	s.names[name] = name
	return name
}
