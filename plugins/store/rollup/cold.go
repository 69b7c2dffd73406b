package rollup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"weir/plugins/store/lake"
)

// cold reads minutes that were moved out of the database into Parquet objects. Each object
// holds minutes of one day and is never changed. The state of a window is its row in the
// database or, if there is none, what a published object has of it. A row that exists
// beside an object is the same version or a newer one. At no moment of a move is a window
// in neither place, or counted twice:
//
//   - an object is written and then published, in the table rollup_cold, before the rows
//     in it are deleted; a row is deleted only if it still has the version that the object
//     has;
//   - a writer that changes an old window, for a late event or a rebuild, reads it from its
//     object and writes it as a row of the next version, while nothing can be published;
//   - when such rows are moved later, a new object is made of the old object and the rows.
//
// All of this happens beneath tx: code that reads minutes through tx sees no difference.
type cold struct {
	mu    sync.Mutex
	url   string
	store *lake.Store
}

// coldKey is the key under which sqldb.DB.Beside keeps the cold of a database.
type coldKey struct{}

// open returns the store of objects at a URL, opened for reading.
func (c *cold) open(ctx context.Context, url string) (*lake.Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store != nil && c.url == url {
		return c.store, nil
	}
	store, err := lake.OpenReading(ctx, url)
	if err != nil {
		return nil, err
	}
	c.url, c.store = url, store // a store that was open before may still be in use, so it stays open
	return store, nil
}

// base is a transaction of one kind of database.
type base interface {
	writer
	roller
	keeper
	reader
	eraser
	querier
	// journal returns nil for a database without a journal.
	journal() journal
}

// coldTx is a transaction that reads minutes from rows and from objects.
type coldTx struct {
	base
	c     *cold
	early *early // what was read from objects before the transaction; may be nil
}

func (c *cold) over(t base) tx { return &coldTx{base: t, c: c} }

func (t *coldTx) old() *coldTx { return t }

// errMoved says that an object was replaced while it was read. A new transaction finds
// its windows.
var errMoved = errors.New("old minutes were moved while they were read")

// read passes the windows of the wanted owners in objects to fn.
func (t *coldTx) read(ctx context.Context, objects []coldObject, want owners, fn func(*windowRow) error) error {
	if len(objects) == 0 {
		return nil
	}
	url, err := t.url(ctx)
	if err != nil {
		return err
	}
	store, err := t.c.open(ctx, url)
	if err != nil {
		return fmt.Errorf("opening the store of old minutes: %w", err)
	}
	for _, o := range objects {
		if done, err := want.early.each(o, want, fn); done || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := eachCold(ctx, store, o, want, fn); errors.Is(err, lake.ErrNotFound) {
			return fmt.Errorf("%w: %w", errMoved, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// load finds rows by their keys. Windows that it finds in objects stay there until the
// transaction ends, because it keeps others from publishing.
func (t *coldTx) load(ctx context.Context, keys []Key) ([]*windowRow, error) {
	rows, err := t.base.load(ctx, keys)
	if err != nil || len(rows) == len(keys) {
		return rows, err
	}
	var days []int64
	for _, k := range keys {
		if d := byDay.floor(k.Bucket); !slices.Contains(days, d) {
			days = append(days, d)
		}
	}
	if found, err := t.anyOf(ctx, days); err != nil || !found {
		return rows, err
	}
	have := make(map[Key]bool, len(keys)) // true: there is a row
	for _, r := range rows {
		have[r.Key] = true
	}
	var missing []Key
	for _, k := range keys {
		if !have[k] {
			have[k] = false
			missing = append(missing, k)
		}
	}
	if err := t.keepTier(ctx); err != nil {
		return nil, err
	}
	for _, day := range days {
		ofDay := slices.DeleteFunc(slices.Clone(missing), func(k Key) bool { return byDay.floor(k.Bucket) != day })
		of := ownersOf(ofDay)
		objects, err := t.objects(ctx, day, day+1, of)
		if err != nil {
			return nil, err
		}
		of.early = t.early.of(ofDay, byMinute.Width)
		if err := t.read(ctx, objects, of, func(r *windowRow) error {
			if row, asked := have[r.Key]; asked && !row {
				rows = append(rows, r)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// joined passes the minutes of owners within [from, to) to fn: the rows that hot passes on,
// and the windows of published objects that have no row.
func (t *coldTx) joined(ctx context.Context, from, to int64, of owners, hot func(func(*windowRow) error) error,
	fn func(*windowRow) error) error {
	first := byDay.floor(max(from, math.MinInt64/2))
	list, err := t.days(ctx, first, to)
	if err != nil {
		return err
	}
	days := make(map[int64]bool, len(list))
	for _, d := range list {
		days[d] = true
	}
	rows := map[Key]bool{}
	err = hot(func(r *windowRow) error {
		if days[byDay.floor(r.Bucket)] {
			rows[r.Key] = true
		}
		return fn(r)
	})
	if err != nil {
		return err
	}
	objects, err := t.objects(ctx, first, to, of) // listed after reading rows: a deleted row's object is published by then
	if err != nil {
		return err
	}
	for _, o := range objects {
		if !days[o.Day] {
			return fmt.Errorf("%w: %w", errConflict, errMoved) // hot did not note the rows of that day
		}
	}
	of.From, of.To = from, to
	return t.read(ctx, objects, of, func(r *windowRow) error {
		if rows[r.Key] {
			return nil
		}
		return fn(r)
	})
}

func (t *coldTx) scan(ctx context.Context, res resolution, s span, fn func(*windowRow) error) error {
	if res != byMinute {
		return t.base.scan(ctx, res, s, fn)
	}
	return t.joined(ctx, s.From, s.To, s.owners(), func(each func(*windowRow) error) error {
		return t.base.scan(ctx, res, s, each)
	}, fn)
}

func (t *coldTx) spans(ctx context.Context, res resolution, keys []Key, width int64, fn func(*windowRow) error) error {
	if res != byMinute || len(keys) == 0 {
		return t.base.spans(ctx, res, keys, width, fn)
	}
	from, to := keys[0].Bucket, keys[0].Bucket
	starts := make(map[Key]bool, len(keys))
	for _, k := range keys {
		from, to = min(from, k.Bucket), max(to, k.Bucket)
		starts[k] = true
	}
	of := ownersOf(keys)
	of.early = t.early.of(keys, width)
	return t.joined(ctx, from, to+width, of, func(each func(*windowRow) error) error {
		return t.base.spans(ctx, res, keys, width, each)
	}, func(r *windowRow) error {
		if r.cold && !starts[Key{r.Fleet, r.Device, r.Bucket - mod(r.Bucket, width)}] {
			return nil // another hour of the device
		}
		return fn(r)
	})
}

func (t *coldTx) newest(ctx context.Context, fleet, device string, n int) ([]*windowRow, error) {
	rows, err := t.base.newest(ctx, fleet, device, n)
	if err != nil {
		return nil, err
	}
	of := owners{Fleet: fleet, List: []owner{{fleet, device}}}
	from := int64(math.MinInt64)
	if len(rows) == n && n > 0 {
		from = byDay.floor(rows[n-1].Bucket) // no older window is among the n newest
	}
	objects, err := t.objects(ctx, from, math.MaxInt64, of)
	if err != nil || len(objects) == 0 {
		return rows, err
	}
	// Only rolled minutes are moved, so rows of days tell which objects have windows of the device.
	on := map[int64]bool{}
	s := span{Fleet: fleet, Devices: []string{device}, From: objects[0].Day, To: objects[len(objects)-1].Day + byDay.Width}
	if err := t.base.scan(ctx, byDay, s, func(r *windowRow) error { on[r.Bucket] = true; return nil }); err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(o coldObject) bool { return !on[o.Day] })
	have := make(map[Key]bool, len(rows))
	for _, r := range rows {
		have[r.Key] = true
	}
	for _, o := range slices.Backward(objects) {
		if len(rows) >= n && rows[n-1].Bucket >= o.Day+byDay.Width {
			break
		}
		if err := t.read(ctx, []coldObject{o}, of, func(r *windowRow) error {
			if !have[r.Key] {
				rows = append(rows, r)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		slices.SortFunc(rows, func(a, b *windowRow) int { return b.Key.compare(a.Key) })
	}
	return rows[:min(n, len(rows))], nil
}
