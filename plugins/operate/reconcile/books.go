package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/plugins/store/lake"
)

// books keep what is known of the stores from one look to the next, so that the time of a glance depends on the number
// of new records, not on the length of the log. If an object is gone - merged, erased from, expired - they are read
// again from the beginning.
type books struct {
	evidence evidence
	objects  int
	problems []string
	closed   map[lake.Partition]closed
}

// closed is the first part of a partition's reach, in which every record has its final outcome.
type closed struct {
	first, end int64 // [first, end)
	counts     Counts
}

// collect reads the coverage of the stores. Rows of the dead-letter store represent records of the dead-letter topic,
// and their origins records of other topics.
func (a *Reconciler) collect(ctx context.Context, since time.Time) (*books, error) {
	b, anew := a.books, a.books == nil
	// they are set again when everything is read: after an error, what was read of one store would be missing in them
	a.books = nil
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

// open opens the closed parts of partitions about which there is new evidence.
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

// rest returns what remains to be judged of a partition, and the counts of its closed part. Only a glance uses that
// part: a run that reads the log may find that one of its records is another event.
func (b *books) rest(p lake.Partition, at reach, glance bool) (reach, Counts) {
	c, ok := b.closed[p]
	if !ok || !glance || c.first != at.first || c.end > at.end {
		return at, Counts{}
	}
	at.first = c.end
	return at, c.counts
}

// close extends the closed part of a partition as far as every record has its final outcome, by the judgement on the
// records after the part that was closed before.
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
