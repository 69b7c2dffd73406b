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

// mover moves old minutes from the database to objects.
type mover struct {
	url   string        // of the store of objects
	hot   time.Duration // the age from which minutes are moved
	every time.Duration // the interval between passes
	rest  time.Duration // how old an object must be before later rows of its owners are merged into it
	most  time.Duration // how long one pass holds the tier at most; an erasure may wait that long
	swept bool          // unpublished objects that a crash, or a pass that failed, has left were deleted
}

// ledgersGone is how long, beyond hot, the move of a day waits for the ledgers of its last
// minutes to be dropped, so that the day moves as a whole.
const ledgersGone = 6 * time.Hour

// fromAlways is a time before every event that every database can represent: about 1990 BC.
const fromAlways = -125_000_000_000

// lasts rejects a URL whose store ends with the process.
func (m *mover) lasts() error {
	if strings.HasPrefix(m.url, "mem:") {
		return errors.New("mem:// forgets what is moved there: expected file:// or s3://, or nothing")
	}
	return nil
}

// ownersOfObject is how many owners an object has when it is made.
const ownersOfObject = 256

// move moves the minutes of the days that ended before hot. Windows that still have a
// ledger, which includes those of held fleets, and windows of hours that are not closed
// stay rows. It returns how many windows it moved; none when another process is moving.
// more means that it stopped after m.most, so that others can take the tier. move may stop
// anywhere and be run again.
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
	if !found { // the objects may have moved to another place, which is noted for readers
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
	defer func() {
		if err != nil { // it may have left objects that are not published
			m.swept = false
		}
		err = errors.Join(err, t.release(ctx))
	}()
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

// shrink drops PostgreSQL partitions all of whose minutes were moved: deleting rows does not
// return their space.
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

// place records in the database where old minutes are stored; every reader goes by that. A
// new place is accepted only if all published objects are there already. Nothing is
// published meanwhile. On an error the old place stays.
func (s *Store) place(ctx context.Context, url string) (err error) {
	if strings.HasPrefix(url, "file://") { // absolute, because readers may have other working directories
		dir, err := storeurl.Path(url)
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err != nil {
			return err
		}
		url = lake.FileURL(dir)
	}
	made, err := lake.Open(ctx, url) // creates the directory
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

// noneThere returns an error if a store already has old minutes: they belong to another
// database, which was lost or replaced, and sweep would delete them.
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

// moveDay moves the rows of a day that have no ledger, except into objects that were written
// after rested. After end it starts no further object, and returns more if some are left.
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

// portion returns the object that the first of the sorted owners belongs to, and how many
// owners from the first on go into it. An object without a key is to be made. Objects of a
// day never overlap, so a window is in at most one of them.
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

// unrolled returns the hours that are not closed. Rolling an hour lists the devices that
// have rows in it, so their minutes must stay rows.
func unrolled(ctx context.Context, t tx) (map[int64]bool, error) {
	list, err := t.unclosed(ctx)
	hours := make(map[int64]bool, len(list))
	for _, h := range list {
		hours[h.Hour] = true
	}
	return hours, err
}

// devices returns, sorted, the owners of the rows of a day that can be moved.
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

// moveInto writes an object with the rows of some owners and with all that the object `into`
// has, publishes it in place of `into`, and deletes the rows. After a crash in between, rows
// exist beside the object; removeLeft or a later move deletes them.
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
	if len(rows) == 0 { // all of them have ledgers
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

// removeLeft deletes the rows of some owners that the object has in the same version: a
// crash left them.
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

// removeMoved deletes rows that are published, except those that have changed since.
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

// remembered returns the row in memory, if the database is SQLite. In PostgreSQL the versions
// of rows show that a row in memory is outdated.
func (s *Store) remembered(k Key) *entry {
	if s.parted {
		return nil
	}
	return s.cache.get(k)
}
