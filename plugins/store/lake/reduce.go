package lake

import (
	"context"
	"fmt"
	"slices"

	"weir/internal/platform/tempdir"
)

// FanIn is how many objects a scan opens for one hour at most. If there are more, they are first
// merged into temporary objects: an hour that was never compacted takes time, not memory.
const FanIn = 192

// Reduce returns objects with the rows of a part, and the store that has them. If there are more
// than most objects, it merges each `most` of them into temporary ones, which release deletes. The
// part must have a start.
func (s *Store) Reduce(ctx context.Context, t *Table, objects []Object, part Part, most int) (from *Store,
	few []Object, release func(), err error) {
	if len(objects) <= most {
		return s, objects, func() {}, nil
	}
	dir, release, err := tempdir.Make("merge")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("merging %d objects: %w", len(objects), err)
	}
	from, err = Open(ctx, FileURL(dir))
	if err != nil {
		release()
		return nil, nil, nil, err
	}
	for some := range slices.Chunk(objects, most) {
		if err = s.mergeInto(ctx, from, t, some, part); err != nil {
			break
		}
	}
	if err == nil {
		few, err = from.Folder(ctx, DateFolder(part.From))
	}
	if err != nil {
		release()
		return nil, nil, nil, err
	}
	return from, few, release, nil
}

// mergeInto writes the part's rows of some objects to another store, each delivery once, as few
// objects. The given objects are not changed.
func (s *Store) mergeInto(ctx context.Context, dst *Store, t *Table, objects []Object, part Part) error {
	var inherited, kept Coverage
	r := rewriting{Table: t, Folder: DateFolder(part.From), Inputs: objects}
	if _, err := s.rewritePart(ctx, dst, nil, r, part, part.From, &inherited, &kept, &Rewritten{}); err != nil {
		return fmt.Errorf("merging %d objects: %w", len(objects), err)
	}
	return nil
}
