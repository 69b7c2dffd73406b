package rollup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/internal/platform/jobs"
	"weir/internal/platform/storeurl"
	"weir/plugins/store/lake"
)

// mover moves old minutes out of the database.
type mover struct {
	url   string        // where to
	hot   time.Duration // how old a minute is when it goes
	every time.Duration // how long after one look the next begins
	rest  time.Duration // how long an object stays before later rows of its owners go into it
	most  time.Duration // how long moving has the tier at a time: an erasure waits for it
	swept bool          // what a crash has left is deleted
}

// ledgersGone is how long after hot a day waits for the ledgers of its last
// minutes to be dropped, so that it goes in one piece.
const ledgersGone = 6 * time.Hour

// fromAlways is before every event: the year -2000 and something, which every
// database knows.
const fromAlways = -125_000_000_000

// lasts refuses a place that ends with the process.
func (m *mover) lasts() error {
	if strings.HasPrefix(m.url, "mem:") {
		return errors.New("mem:// forgets what is moved there: expected file:// or s3://, or nothing")
	}
	return nil
}

// ownersOfObject is of how many owners an object is made.
const ownersOfObject = 256

// move moves the minutes of the days that ended before hot, as far as their
// ledgers were dropped and their hours are closed: until then they stay, and so do
// those of a fleet that is held. It returns how many windows it moved, none when another process is at
// it. more tells that it stopped before all was moved, so that others get at what
// is moved. It may stop anywhere and be run again.
func (s *Store) move(ctx context.Context, m *mover, now time.Time) (moved int64, more bool, err error) {
	before := byDay.floor(now.Add(-m.hot - ledgersGone).Unix())
	begins := int64(0)
	if err := s.backend.view(ctx, func(t tx) (err error) { begins, err = t.old().begins(ctx); return err }); err != nil ||
		now.Unix() < begins {
		return 0, false, err
	}
	_, found, err := s.firstSealed(ctx, fromAlways, before)
	if err != nil {
		return 0, false, err
	}
	if !found { // they may have moved with their directory: readers go by what is noted
		if have, err := s.oldURL(ctx); err != nil || have == "" {
			return 0, false, err
		}
	}
	if err := s.place(ctx, m.url); errors.Is(err, errTierBusy) {
		return 0, false, nil
	} else if err != nil || !found {
		return 0, false, err
	}
	end := time.Now().Add(m.most)
	t, err := s.takeTier(ctx, time.Now())
	if errors.Is(err, errTierBusy) {
		return 0, false, nil
	} else if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, t.release(ctx)) }()
	if !m.swept {
		if err := t.sweep(ctx); err != nil {
			return 0, false, err
		}
		m.swept = true
	}
	for from := int64(fromAlways); ; {
		bucket, found, err := s.firstSealed(ctx, from, before)
		if err != nil || !found {
			return moved, false, err
		}
		day := byDay.floor(bucket)
		n, more, err := t.moveDay(ctx, day, now.Add(-m.rest), end)
		if moved += n; err != nil {
			return moved, false, fmt.Errorf("moving the minutes of %s: %w", at(day).UTC().Format(time.DateOnly), err)
		}
		if more || moved > 0 && time.Now().After(end) {
			return moved, true, nil
		}
		from = day + byDay.Width
	}
}

func (s *Store) firstSealed(ctx context.Context, from, before int64) (bucket int64, found bool, err error) {
	err = s.backend.view(ctx, func(t tx) (err error) {
		bucket, found, err = t.firstSealed(ctx, from, before)
		return err
	})
	return bucket, found, err
}

// shrink gives back the space of minutes that were all moved, where deleting them
// does not.
func (s *Store) shrink(ctx context.Context, m *mover, now time.Time) error {
	pg, ok := s.backend.(*postgres)
	if !ok {
		return nil
	}
	names, err := pg.partitionsBefore(ctx, byMinute, now.Add(-m.hot-ledgersGone).Unix())
	for _, name := range names {
		if err == nil {
			_, err = pg.dropEmpty(ctx, name)
		}
	}
	if err != nil {
		return fmt.Errorf("dropping empty partitions: %w", err)
	}
	return nil
}

// place notes where old minutes are to be: every reader goes by it. It may be
// another place than before when the objects are there. Nobody publishes meanwhile:
// what is somewhere else is at the new place, or the old one stays.
func (s *Store) place(ctx context.Context, url string) (err error) {
	if strings.HasPrefix(url, "file://") { // whatever directory a reader works in
		dir, err := storeurl.Path(url)
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err != nil {
			return err
		}
		url = lake.FileURL(dir)
	}
	made, err := lake.Open(ctx, url) // makes the directory
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	if have, err := s.oldURL(ctx); err != nil || have == url {
		return err
	}
	t, err := s.lease(ctx, time.Now())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.release(ctx)) }()
	return t.place(ctx, url, made)
}

func (t *tier) place(ctx context.Context, url string, made *lake.Store) error {
	have, err := t.s.oldURL(ctx)
	if err != nil {
		return err
	}
	if have == "" {
		err = noneThere(ctx, made)
	} else {
		var objects []coldObject
		if objects, err = t.objects(ctx, all.From, all.To, owners{}); err == nil {
			err = allThere(ctx, made, objects)
		}
	}
	if err != nil {
		return err
	}
	return t.s.backend.update(ctx, func(tx tx) error {
		n, err := tx.exec(ctx, `UPDATE rollup_tier SET url = $1 WHERE id = $2 AND owner = $3`, url, tierRow, t.owner)
		if err == nil && n == 0 {
			err = jobs.ErrLost
		}
		return err
	})
}

// noneThere returns an error if a store has old minutes: they are another
// database's, which was lost or replaced, and sweep would delete them.
func noneThere(ctx context.Context, store *lake.Store) error {
	list, err := store.Folder(ctx, coldFolder)
	if err != nil || len(list) == 0 {
		return err
	}
	return fmt.Errorf("%s has %d objects of old minutes, such as %s, of a database that is not this one: restore "+
		"that one, or move the folders %s and %s away", store.Name(), len(list), list[0].Key, coldFolder, sumFolder)
}

// allThere returns an error unless a store has all published objects.
func allThere(ctx context.Context, store *lake.Store, objects []coldObject) error {
	if len(objects) == 0 {
		return nil
	}
	there := map[string]bool{}
	list, err := store.Folder(ctx, coldFolder)
	if err != nil {
		return err
	}
	for _, o := range list {
		there[o.Key] = true
	}
	for _, o := range objects {
		if !there[o.Key] {
			return fmt.Errorf("old minutes are elsewhere, and %s is not in %s: copy the folders %s and %s there first",
				o.Key, store.Name(), coldFolder, sumFolder)
		}
	}
	return nil
}

// moveDay moves what a day has in rows without a ledger, but not into objects that
// were written after a time, and begins nothing after end, when there is more.
func (t *tier) moveDay(ctx context.Context, day int64, rested, end time.Time) (moved int64, more bool, err error) {
	devices, err := t.devices(ctx, day)
	if err != nil {
		return 0, false, err
	}
	objects, err := t.objects(ctx, day, day+1, owners{})
	if err != nil {
		return 0, false, err
	}
	for len(devices) > 0 {
		into, n := portion(devices, objects)
		if into.Written > rested.Unix() {
			if err := t.removeLeft(ctx, into, devices[:n]); err != nil {
				return moved, false, err
			}
			devices = devices[n:]
			continue
		}
		done, err := t.moveInto(ctx, day, into, devices[:n])
		if moved += done; err != nil {
			return moved, false, err
		}
		if devices = devices[n:]; len(devices) > 0 && time.Now().After(end) {
			return moved, true, nil
		}
	}
	return moved, false, nil
}

// portion returns how many of the owners, which are sorted, go into one object,
// and into which; one without a key is a new one. No two objects of a day
// overlap, so that one window is in one at most.
func portion(devices []owner, objects []coldObject) (into coldObject, n int) {
	in := func(o owner) int {
		return slices.IndexFunc(objects, func(c coldObject) bool { return c.has(o) })
	}
	found := in(devices[0])
	if found >= 0 {
		into = objects[found]
	}
	next := slices.IndexFunc(objects, func(c coldObject) bool { return devices[0].compare(c.Low) < 0 })
	for n = 1; n < len(devices); n++ {
		if found >= 0 && !into.has(devices[n]) || found < 0 && n == ownersOfObject ||
			found < 0 && next >= 0 && devices[n].compare(objects[next].Low) >= 0 {
			break
		}
	}
	return into, n
}

// unrolled are the hours that are not closed: rolling them looks for the devices
// that have rows, so their minutes stay rows.
func unrolled(ctx context.Context, t tx) (map[int64]bool, error) {
	list, err := t.unclosed(ctx)
	hours := make(map[int64]bool, len(list))
	for _, h := range list {
		hours[h.Hour] = true
	}
	return hours, err
}

// devices lists who has rows of a day that may move, in order.
func (t *tier) devices(ctx context.Context, day int64) (list []owner, err error) {
	known := map[owner]bool{}
	for hour := day; hour < day+byDay.Width; hour += byHour.Width {
		err := t.s.backend.view(ctx, func(tx tx) error {
			open, err := unrolled(ctx, tx)
			if err != nil || open[hour] {
				return err
			}
			some, err := tx.sealedDevices(ctx, hour)
			for _, o := range some {
				known[o] = true
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("listing devices: %w", err)
		}
	}
	for o := range known {
		list = append(list, o)
	}
	slices.SortFunc(list, owner.compare)
	return list, nil
}

// moveInto writes an object of the rows of some owners, and of what an object had
// of theirs and of others, publishes it in its place, and deletes the rows.
func (t *tier) moveInto(ctx context.Context, day int64, into coldObject, devices []owner) (int64, error) {
	var rows []versioned
	list := devices
	if into.Key != "" {
		had, err := t.ownersIn(ctx, into)
		if err != nil {
			return 0, err
		}
		list = append(had, devices...)
		slices.SortFunc(list, owner.compare)
		list = slices.Compact(list)
	}
	sealed := func(some []owner) (out []*windowRow, err error) {
		keys := make([]Key, len(some))
		for i, o := range some {
			keys[i] = Key{o.Fleet, o.Device, day}
		}
		err = t.s.backend.view(ctx, func(tx tx) error {
			out = nil
			open, err := unrolled(ctx, tx)
			if err != nil {
				return err
			}
			return tx.sealed(ctx, keys, func(r *windowRow) error {
				if !open[byHour.floor(r.Bucket)] {
					out = append(out, r)
				}
				return nil
			})
		})
		for _, r := range out {
			rows = append(rows, versioned{r.Key, r.Version})
		}
		return out, err
	}
	made, err := t.write(ctx, day, t.again(ctx, into, list, sealed))
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 { // they have ledgers, all of them
		return 0, t.to.Remove(ctx, made.keys()...)
	}
	var gone []coldObject
	if into.Key != "" {
		gone = append(gone, into)
	}
	if err := t.swap(ctx, gone, []coldObject{made}, nil); err != nil {
		return 0, err
	}
	return int64(len(rows)), t.s.removeMoved(ctx, day, rows)
}

// removeLeft deletes the rows of some owners that an object has as they are: a crash
// has left them.
func (t *tier) removeLeft(ctx context.Context, o coldObject, devices []owner) error {
	var rows []versioned
	err := eachCold(ctx, t.to, o, owners{List: devices}, func(r *windowRow) error {
		rows = append(rows, versioned{r.Key, r.Version})
		return nil
	})
	if err != nil {
		return err
	}
	return t.s.removeMoved(ctx, o.Day, rows)
}

func (t *tier) ownersIn(ctx context.Context, o coldObject) (list []owner, err error) {
	err = eachCold(ctx, t.to, o, owners{}, func(r *windowRow) error {
		if of := (owner{r.Fleet, r.Device}); len(list) == 0 || list[len(list)-1] != of {
			list = append(list, of)
		}
		return nil
	})
	return list, err
}

// removeMoved deletes rows that are published, as far as they are still what was.
func (s *Store) removeMoved(ctx context.Context, day int64, rows []versioned) error {
	for chunk := range slices.Chunk(rows, dropChunk) {
		err := s.transact(ctx, span{From: day, To: day + byDay.Width}, func(t tx) error {
			for _, r := range chunk {
				if e := s.remembered(r.Key); e != nil {
					s.cache.drop(e)
				}
			}
			return t.remove(ctx, chunk)
		})
		if err != nil {
			return fmt.Errorf("deleting rows that were moved: %w", err)
		}
	}
	return nil
}

// remembered is the row that SQLite's memory has; in PostgreSQL, versions tell what
// is no more.
func (s *Store) remembered(k Key) *entry {
	if !s.journals || s.parted {
		return nil
	}
	return s.cache.get(k)
}
