package reconcile

import (
	"context"
	"errors"
	"fmt"
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

// gather reads the objects written since a time, and those of the folders that
// were asked for. It tells which it has not read before, and whether some that it
// had read are gone.
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
		_, known := s.read[f.Key] // read when another one was looked for
		kept, err := s.keep(ctx, f)
		if kept && !known {
			added = append(added, f.Key)
		}
		return err
	})
	return added, gone, err
}

// keep checks an object's word before it is evidence: it may not claim more
// records than it has rows. It is not kept when it is gone meanwhile.
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
			return false, nil // compacted meanwhile: what it held is in another object
		} else if err != nil {
			return false, err
		}
		f, problems = checked, append(problems, more...)
	}
	s.read[f.Key] = object{f.Blob, f.Coverage, problems}
	return true, nil
}
