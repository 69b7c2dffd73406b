package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/plugins/store/lake"
)

// shelf is one store with what was read of its objects. Objects never change,
// so each is read once; those that are gone are forgotten, and their evidence
// with them.
type shelf struct {
	store   *lake.Store
	deep    func(context.Context, *lake.Store, lake.Footer) (lake.Footer, []string, error) // nil: believe the footers
	read    map[string]object
	folders map[string]bool // older days, asked for by name
}

type object struct {
	blob     lake.Blob
	coverage lake.Coverage
	problems []string
}

func newShelf(s *lake.Store) *shelf {
	return &shelf{store: s, read: map[string]object{}, folders: map[string]bool{}}
}

// gather returns what the objects written since a time say, and those of the
// folders that were asked for.
func (s *shelf) gather(ctx context.Context, since time.Time) (all []object, err error) {
	objects, err := s.store.Objects(ctx, lake.Select{WrittenSince: since, Duplicates: true})
	if err != nil {
		return nil, err
	}
	for folder := range s.folders {
		more, err := s.store.Folder(ctx, folder)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	there := make(map[string]bool, len(objects))
	unread := objects[:0]
	for _, o := range objects {
		if _, known := s.read[o.Key]; !known && !there[o.Key] {
			unread = append(unread, o)
		}
		there[o.Key] = true
	}
	for key := range s.read {
		if !there[key] {
			delete(s.read, key)
		}
	}
	if err := s.store.Footers(ctx, unread, func(f lake.Footer) error { return s.keep(ctx, f) }); err != nil {
		return nil, err
	}
	for _, o := range s.read {
		all = append(all, o)
	}
	return all, nil
}

// keep checks an object's word before it is evidence: it may not claim more
// records than it has rows.
func (s *shelf) keep(ctx context.Context, f lake.Footer) error {
	var problems []string
	claims := int64(0)
	for p, spans := range f.Coverage.Stored {
		set := lake.NewOffsets(spans...)
		claims += set.Count()
		f.Coverage.Stored[p] = set
	}
	if claims > f.Rows {
		problems = append(problems, fmt.Sprintf("object %s of %s claims %d records but has %d rows", f.Key, s.store.Name(),
			claims, f.Rows))
	}
	if s.deep != nil && f.Rows > 0 {
		checked, more, err := s.deep(ctx, s.store, f)
		if errors.Is(err, lake.ErrNotFound) {
			return nil // compacted meanwhile: what it held is in another object
		} else if err != nil {
			return err
		}
		f, problems = checked, append(problems, more...)
	}
	s.read[f.Key] = object{f.Blob, f.Coverage, problems}
	return nil
}

// collect gathers the evidence of both stores. The dead-letter store's rows
// stand for records of the dead-letter topic, their origins for those of others.
func (a *Reconciler) collect(ctx context.Context, since time.Time) (e evidence, objects int, problems []string,
	err error) {
	e = newEvidence()
	for _, s := range []*shelf{a.raw, a.dead} {
		found, err := s.gather(ctx, since)
		if err != nil {
			return e, 0, nil, fmt.Errorf("reading what the store says of itself: %w", err)
		}
		for _, o := range found {
			e.merge(o.coverage)
			problems = append(problems, o.problems...)
		}
		objects += len(found)
	}
	slices.Sort(problems)
	return e, objects, problems, nil
}
