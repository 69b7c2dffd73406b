package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/plugins/store/lake"
)

// books are what is known of the stores from one look to the next, so that a
// glance takes as long as what is new, and not as long as the log is. Objects
// that are gone - compacted, erased from, expired - begin them anew.
type books struct {
	evidence evidence
	objects  int
	problems []string
	closed   map[lake.Partition]closed
}

// closed is the beginning of a partition's reach in which every record has come to
// its end.
type closed struct {
	first, end int64 // [first, end)
	counts     Counts
}

// collect reads what the stores say of themselves. The dead-letter store's rows
// stand for records of the dead-letter topic, their origins for those of others.
func (a *Reconciler) collect(ctx context.Context, since time.Time) (*books, error) {
	b, anew := a.books, a.books == nil
	a.books = nil // unless all of it is read: what was read of one store is new to the other's
	added := map[*shelf][]string{}
	for _, s := range []*shelf{a.raw, a.dead} {
		more, gone, err := s.gather(ctx, since)
		if err != nil {
			return nil, fmt.Errorf("reading what the store says of itself: %w", err)
		}
		anew = anew || gone
		added[s] = more
	}
	if anew {
		b = &books{evidence: newEvidence(), closed: map[lake.Partition]closed{}}
	}
	more := newEvidence()
	for s, keys := range added {
		if anew {
			keys = slices.Collect(maps.Keys(s.read))
		}
		for _, key := range keys {
			more.merge(s.read[key].coverage)
			b.problems = append(b.problems, s.read[key].problems...)
		}
		b.objects += len(keys)
	}
	more.tidy()
	b.open(more)
	b.evidence.add(more)
	slices.Sort(b.problems)
	a.books = b
	return b, nil
}

// open opens what was closed of partitions of which more is said now.
func (b *books) open(more evidence) {
	opened := func(p lake.Partition, first int64) {
		if first < b.closed[p].end {
			delete(b.closed, p)
		}
	}
	for _, sets := range more.sets() {
		for p, set := range sets {
			if len(set) > 0 {
				opened(p, set[0].First)
			}
		}
	}
	for p, ds := range more.duplicates {
		if len(ds) > 0 {
			opened(p, ds[0].Offset)
		}
	}
}

// rest is what is to be judged of a partition, and what was closed before it: of
// a glance only, for what reads the log may find that a record is another event.
func (b *books) rest(p lake.Partition, at reach, glance bool) (reach, Counts) {
	c, ok := b.closed[p]
	if !ok || !glance || c.first != at.first || c.end > at.end {
		return at, Counts{}
	}
	at.first = c.end
	return at, c.counts
}

// close notes how far every record has come to its end, as it was judged behind
// what was closed before.
func (b *books) close(p lake.Partition, first int64, at reach, before Counts, f *finding) {
	end := at.end
	for _, open := range []lake.Offsets{f.differing, f.inFlight, f.unexplained} {
		if len(open) > 0 {
			end = min(end, open[0].First)
		}
	}
	before.Add(f.within(at.first, end).counts(reach{first: at.first, end: end}))
	b.closed[p] = closed{first: first, end: end, counts: before}
}
