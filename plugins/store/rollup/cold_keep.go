package rollup

import (
	"context"
	"fmt"
	"slices"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
)

// targetOwners returns whose windows an erasure deletes; an empty device means the whole fleet.
func targetOwners(fleet, device string) owners {
	if device == "" {
		return owners{Fleet: fleet}
	}
	return owners{Fleet: fleet, List: []owner{{fleet, device}}}
}

// erase replaces each object that has windows of the target by one without them, and counts
// the windows that have no row; a window with a row is counted when the row is deleted. It
// also deletes unpublished objects that a crash has left. held is called before each object;
// its error stops the erasure.
func (t *tier) erase(ctx context.Context, target tombstone.Target, held func() error) error {
	if t.to == nil {
		return nil
	}
	of := targetOwners(target.Fleet, target.Device)
	objects, err := t.objects(ctx, all.From, all.To, of)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := held(); err != nil {
			return err
		}
		if _, err := t.less(ctx, o, of.has, func(tx tx, went []Key) error {
			n, err := rowless(ctx, tx, went)
			if err != nil {
				return err
			}
			return tx.count(ctx, target.Job, countMinutes, n)
		}); err != nil {
			return err
		}
	}
	if err := held(); err != nil {
		return err
	}
	return t.sweep(ctx)
}

// rowless counts the windows that have no row.
func rowless(ctx context.Context, t tx, keys []Key) (n int64, err error) {
	for chunk := range slices.Chunk(keys, dropChunk) {
		rows, err := t.old().base.load(ctx, chunk)
		if err != nil {
			return 0, err
		}
		n += int64(len(chunk) - len(rows))
	}
	return n, nil
}

// countOld counts the windows of a device, or of a fleet if device is empty, that are only
// in objects.
func (s *Store) countOld(ctx context.Context, fleet, device string) (n int64, err error) {
	of := targetOwners(fleet, device)
	err = s.view(ctx, span{}, func(t tx) error { // the caller has written all rows before
		objects, err := t.old().objects(ctx, all.From, all.To, of)
		if err != nil {
			return err
		}
		n = 0
		for _, o := range objects {
			var keys []Key
			if err := t.old().read(ctx, []coldObject{o}, of, func(r *windowRow) error {
				keys = append(keys, r.Key)
				return nil
			}); err != nil {
				return err
			}
			more, err := rowless(ctx, t, keys)
			if n += more; err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting old minutes: %w", err)
	}
	return n, nil
}

// dropObjects deletes the objects of days before the cutoff. An object with windows of held
// fleets is replaced by one that has only those.
func (s *Store) dropObjects(ctx context.Context, p expire.Pass, cutoff int64, removed *expire.Removed) error {
	if p.DryRun {
		return s.foreseeObjects(ctx, p, cutoff, removed)
	}
	return s.tiered(ctx, func(t *tier) error { return t.drop(ctx, p, cutoff, removed) })
}

func (t *tier) drop(ctx context.Context, p expire.Pass, cutoff int64, removed *expire.Removed) error {
	if t.to == nil {
		return nil
	}
	objects, err := t.objects(ctx, all.From, cutoff, owners{})
	if err != nil {
		return err
	}
	for _, o := range objects {
		held, err := p.Fleets(ctx)
		if err != nil {
			return err
		}
		var going, staying int64
		err = t.s.backend.view(ctx, func(tx tx) (err error) {
			going, staying, err = tx.old().doubled(ctx, o, held)
			return err
		})
		if err != nil {
			return err
		}
		if !o.meets(held) {
			if err := t.swap(ctx, []coldObject{o}, nil, nil); err != nil {
				return err
			}
			removed.Objects++
			removed.Rows += o.Windows - going
			removed.Bytes += o.Bytes + o.Summed
			continue
		}
		n, err := t.less(ctx, o, func(of owner) bool { return !slices.Contains(held, of.Fleet) }, nil)
		if err != nil {
			return err
		}
		if removed.Kept += o.Windows - n - staying; n > 0 {
			removed.Rows += n - going
			removed.Changed++
		}
	}
	return nil
}

// doubled counts the windows of an object that also have a row, and are therefore counted
// with the rows: going are those of fleets that are not held, staying those of held ones.
func (t *coldTx) doubled(ctx context.Context, o coldObject, held []string) (going, staying int64, err error) {
	keys, err := t.beside(ctx, o)
	if err != nil || len(keys) == 0 {
		return 0, 0, err
	}
	rows := make(map[Key]bool, len(keys))
	for _, k := range keys {
		rows[k] = true
	}
	err = t.read(ctx, []coldObject{o}, ownersOf(keys), func(r *windowRow) error {
		if !rows[r.Key] {
			return nil
		}
		if slices.Contains(held, r.Fleet) {
			staying++
		} else {
			going++
		}
		return nil
	})
	return going, staying, err
}

// meets reports whether an object may have windows of one of the fleets.
func (o coldObject) meets(fleets []string) bool {
	return slices.ContainsFunc(fleets, func(f string) bool { return owners{Fleet: f}.meets(o.within) })
}

// foreseeObjects counts what dropObjects would delete and keep.
func (s *Store) foreseeObjects(ctx context.Context, p expire.Pass, cutoff int64, removed *expire.Removed) error {
	held, err := p.Fleets(ctx)
	if err != nil {
		return err
	}
	was := *removed
	return s.view(ctx, span{}, func(t tx) error {
		*removed = was
		objects, err := t.old().objects(ctx, all.From, cutoff, owners{})
		if err != nil {
			return err
		}
		for _, o := range objects {
			kept := int64(0)
			if o.meets(held) {
				if err := t.old().read(ctx, []coldObject{o}, owners{}, func(r *windowRow) error {
					if slices.Contains(held, r.Fleet) {
						kept++
					}
					return nil
				}); err != nil {
					return err
				}
			}
			going, staying, err := t.old().doubled(ctx, o, held)
			if err != nil {
				return err
			}
			removed.Kept += kept - staying
			removed.Rows += o.Windows - kept - going
		}
		return nil
	})
}
