package rollup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"weir/internal/platform/flow"
	"weir/internal/platform/jobs"
	"weir/plugins/store/lake"
)

// tier is the right to publish and replace objects of old minutes. One process has it at a
// time: to move, to erase, or to delete by retention.
type tier struct {
	s     *Store
	owner string
	lease jobs.Table
	to    *lake.Store // nil: nothing was ever to be moved, and no lease is held
	alive *flow.Task  // renews the lease
}

// errTierBusy says that another process has the tier.
var errTierBusy = errors.New("another process moves old minutes")

// takeTier takes the tier, which release gives back. Until then nobody else publishes, unless
// the lease expires because it could not be renewed.
func (s *Store) takeTier(ctx context.Context, now time.Time) (*tier, error) {
	t, err := s.lease(ctx, now)
	if err != nil {
		return nil, err
	}
	url, err := s.oldURL(ctx)
	if err == nil {
		t.to, err = s.cold.open(ctx, url)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store of old minutes: %w", err), t.release(ctx))
	}
	return t, nil
}

// lease takes the tier without opening the store of objects, for place.
func (s *Store) lease(ctx context.Context, now time.Time) (*tier, error) {
	t := &tier{s: s, owner: rand.Text(), lease: leases(s.db)}
	id, err := t.lease.Take(ctx, t.owner, "", now)
	if err == nil && id == "" {
		err = errTierBusy
	}
	if err != nil {
		return nil, err
	}
	t.alive = flow.Start(t.renew)
	return t, nil
}

// renew renews the lease until ctx ends, however long a step of the holder takes. A failed
// renewal is tried again at the next tick; publish fails if the lease was lost.
func (t *tier) renew(ctx context.Context) {
	tick := time.NewTicker(tierLease / 6)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = t.keep(ctx)
		}
	}
}

// tierPoll is how often awaitTier tries to take the tier.
const tierPoll = time.Second

// tiered runs fn with the tier. If nothing was ever to be moved, fn runs without the lease,
// and again with it if a place was set meanwhile.
func (s *Store) tiered(ctx context.Context, fn func(*tier) error) (err error) {
	if url, err := s.oldURL(ctx); err != nil {
		return err
	} else if url == "" {
		if err := fn(&tier{s: s}); err != nil {
			return err
		}
		if url, err = s.oldURL(ctx); err != nil || url == "" {
			return err
		}
	}
	t, err := s.awaitTier(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.release(ctx)) }()
	return fn(t)
}

// oldURL returns where old minutes are; "" if nothing was ever to be moved.
func (s *Store) oldURL(ctx context.Context) (url string, err error) {
	err = s.backend.view(ctx, func(t tx) (err error) { url, err = t.old().url(ctx); return err })
	return url, err
}

// awaitTier is takeTier, but waits for the holder. A mover gives the tier back after moveMost
// and the object it is writing then.
func (s *Store) awaitTier(ctx context.Context) (*tier, error) {
	for {
		t, err := s.takeTier(ctx, time.Now())
		if !errors.Is(err, errTierBusy) {
			return t, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(tierPoll):
		}
	}
}

// keep renews the lease.
func (t *tier) keep(ctx context.Context) error {
	if t.owner == "" {
		return nil
	}
	return t.lease.Renew(ctx, t.owner, tierRow, time.Now(), "")
}

func (t *tier) release(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if t.alive != nil {
		if err := t.alive.End(ctx); err != nil {
			return err
		}
	}
	err := t.lease.Release(ctx, t.owner, tierRow, "")
	if errors.Is(err, jobs.ErrLost) {
		return nil // somebody else has it: it is released all the same
	}
	return err
}

// objects returns the published objects of days in [from, to) that may have windows of the
// owners.
func (t *tier) objects(ctx context.Context, from, to int64, of owners) (out []coldObject, err error) {
	err = t.s.backend.view(ctx, func(tx tx) (err error) {
		out, err = tx.old().objects(ctx, from, to, of)
		return err
	})
	return out, err
}

// swap publishes the objects `come` in place of the objects `gone`, and then deletes those. If
// `also` is given, it runs in the same transaction, in which rows have all that was counted.
// A crash before the deletion leaves unpublished objects for sweep.
func (t *tier) swap(ctx context.Context, gone, come []coldObject, also func(tx) error) error {
	publish := func(tx tx) error { return tx.old().publish(ctx, t.owner, gone, come) }
	var err error
	if also == nil {
		err = t.s.backend.update(ctx, publish)
	} else {
		err = t.s.transact(ctx, all, func(tx tx) error {
			if err := publish(tx); err != nil {
				return err
			}
			return also(tx)
		})
	}
	if err != nil {
		return fmt.Errorf("publishing old minutes: %w", err)
	}
	for _, o := range gone {
		if err := t.to.Remove(ctx, o.keys()...); err != nil {
			return err
		}
	}
	return nil
}

// write writes an object of a day, and its sums, without publishing them. next returns the
// windows of the next owners, in the order of their keys, and none at the end.
func (t *tier) write(ctx context.Context, day int64, next func() ([]*windowRow, error)) (o coldObject, err error) {
	last := at(day + byDay.Width - 60)
	now, folder := time.Now(), path.Join(coldFolder, lake.DateFolder(lake.Clamp(at(day))))
	o = coldObject{Day: day, Written: now.Unix(),
		Key: lake.NewName(folder, now, lake.Clamp(at(day)), lake.Clamp(last)).Path()}
	var sums summer
	o.Bytes, err = t.to.PutGroups(ctx, o.Key, coldTable(), func() (int, lake.Columns, error) {
		rows, err := next()
		if err != nil || len(rows) == 0 {
			return 0, nil, err
		}
		if o.Windows == 0 {
			o.Low = owner{rows[0].Fleet, rows[0].Device}
		}
		o.Windows += int64(len(rows))
		o.High = owner{rows[len(rows)-1].Fleet, rows[len(rows)-1].Device}
		for _, r := range rows {
			sums.add(r)
		}
		lines := coldLines(rows)
		return len(lines), lake.ColumnsOf(lines, coldLine.value), t.keep(ctx)
	})
	if err != nil {
		return o, fmt.Errorf("writing old minutes: %w", err)
	}
	return o, t.writeSums(ctx, &o, &sums)
}

// less replaces an object by one without the windows of the owners for which gone is true, or
// by none if that are all, and returns how many windows were removed. also runs in the
// transaction that publishes the result.
func (t *tier) less(ctx context.Context, o coldObject, gone func(owner) bool,
	also func(tx tx, rows []Key) error) (n int64, err error) {
	var keep []owner
	var went []Key
	err = eachCold(ctx, t.to, o, owners{}, func(r *windowRow) error {
		if of := (owner{r.Fleet, r.Device}); gone(of) {
			went = append(went, r.Key)
		} else if len(keep) == 0 || keep[len(keep)-1] != of {
			keep = append(keep, of)
		}
		return nil
	})
	if err != nil || len(went) == 0 {
		return 0, err
	}
	var come []coldObject
	if len(keep) > 0 {
		made, err := t.write(ctx, o.Day, t.again(ctx, o, keep, nil))
		if err != nil {
			return 0, err
		}
		come = append(come, made)
	}
	if also == nil {
		return int64(len(went)), t.swap(ctx, []coldObject{o}, come, nil)
	}
	return int64(len(went)), t.swap(ctx, []coldObject{o}, come, func(tx tx) error { return also(tx, went) })
}

// ownersAtOnce is how many owners' windows are in memory while an object is written. They
// become one row group.
const ownersAtOnce = 8

// again returns a function for write: it returns the windows of the listed owners that the
// object has, with those that `instead` returns in place of the same windows of the object.
func (t *tier) again(ctx context.Context, o coldObject, list []owner,
	instead func([]owner) ([]*windowRow, error)) func() ([]*windowRow, error) {
	return func() ([]*windowRow, error) {
		for len(list) > 0 {
			some := list[:min(ownersAtOnce, len(list))]
			list = list[len(some):]
			var rows []*windowRow
			if instead != nil {
				var err error
				if rows, err = instead(some); err != nil {
					return nil, err
				}
			}
			have := make(map[Key]bool, len(rows))
			for _, r := range rows {
				have[r.Key] = true
			}
			if o.Key != "" {
				if err := eachCold(ctx, t.to, o, owners{List: some}, func(r *windowRow) error {
					if !have[r.Key] {
						rows = append(rows, r)
					}
					return nil
				}); err != nil {
					return nil, err
				}
			}
			if len(rows) > 0 {
				slices.SortFunc(rows, func(a, b *windowRow) int { return a.compare(b.Key) })
				return rows, nil
			}
		}
		return nil, nil
	}
}

// coldFolder is the folder of old minutes in the store of objects.
const coldFolder = "rollup_1m"

// sweep deletes objects that are not published: a crash left them before their publication,
// or after they were replaced. It deletes nothing, and fails, when a published object is
// missing: the database may then be an older copy that does not know the objects that have
// replaced that one.
func (t *tier) sweep(ctx context.Context) error {
	if t.to == nil {
		return nil
	}
	there, err := t.to.Folder(ctx, coldFolder)
	if err != nil {
		return err
	}
	sums, err := t.to.Folder(ctx, sumFolder)
	if err != nil {
		return err
	}
	published := map[string]bool{}
	objects, err := t.objects(ctx, all.From, all.To, owners{})
	if err != nil {
		return err
	}
	summed := map[string]bool{}
	for _, o := range objects {
		published[o.Key] = true
		summed[sumKey(o.Key)] = o.Summed > 0
	}
	var left []string
	for _, o := range sums {
		if !summed[o.Key] {
			left = append(left, o.Key)
		}
	}
	for _, o := range there {
		if published[o.Key] {
			delete(published, o.Key)
		} else {
			left = append(left, o.Key)
		}
	}
	for key := range published {
		return fmt.Errorf("looking for objects that a crash has left: %d that the database names, such as %s, are not in "+
			"%s: restore them, or the database of the same time", len(published), key, t.to.Name())
	}
	for _, key := range left {
		if err := errors.Join(t.keep(ctx), t.to.Remove(ctx, key)); err != nil {
			return fmt.Errorf("deleting an object that is not published: %w", err)
		}
	}
	return nil
}
