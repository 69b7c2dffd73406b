package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/plugins/store/lake"
)

// shelf is one store with what was read of its objects. Objects never change, so each is read once. Objects that are
// gone are forgotten, with their evidence.
type shelf struct {
	store   *lake.Store
	deep    func(context.Context, *lake.Store, lake.Footer) (lake.Footer, []string, error) // nil: trust the footers
	read    map[string]object
	folders map[string]bool // folders of older days that are needed
}

type object struct {
	blob     lake.Blob
	coverage lake.Coverage
	problems []string
}

func newShelf(s *lake.Store) *shelf {
	return &shelf{store: s, read: map[string]object{}, folders: map[string]bool{}}
}

// gather reads the objects written since a time, and those of the needed folders. added are those that it has not read
// before; gone reports whether objects that it had read are gone.
func (s *shelf) gather(ctx context.Context, since time.Time) (added []string, gone bool, err error) {
	objects, err := s.store.Objects(ctx, lake.Select{WrittenSince: since, Duplicates: true})
	if err != nil {
		return nil, false, err
	}
	for folder := range s.folders {
		more, err := s.store.Folder(ctx, folder)
		if err != nil {
			return nil, false, err
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
			gone = true
		}
	}
	err = s.store.Footers(ctx, unread, func(f lake.Footer) error {
		_, known := s.read[f.Key] // read already, when another object was looked for
		kept, err := s.keep(ctx, f)
		if kept && !known {
			added = append(added, f.Key)
		}
		return err
	})
	return added, gone, err
}

// keep checks the footer of an object before it becomes evidence: it may not name more records than the object has
// rows. kept is false if the object is gone meanwhile.
func (s *shelf) keep(ctx context.Context, f lake.Footer) (kept bool, err error) {
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
			return false, nil // merged meanwhile: its rows are in another object
		} else if err != nil {
			return false, err
		}
		f, problems = checked, append(problems, more...)
	}
	s.read[f.Key] = object{f.Blob, f.Coverage, problems}
	return true, nil
}
