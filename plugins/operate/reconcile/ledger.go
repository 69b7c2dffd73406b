package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"sort"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// evidence is what the stores, and the log's own dead letters, say about the
// records of the log.
type evidence struct {
	stored map[lake.Partition]lake.Offsets // rows that stand for the record
	// its row or its dead letter was erased, or refused because of an erasure
	erased     map[lake.Partition]lake.Offsets
	dead       map[lake.Partition]lake.Offsets     // dead letters that came from it
	duplicates map[lake.Partition][]lake.Duplicate // proofs that it repeats another, by offset
	replayed   map[lake.Partition]lake.Offsets     // replays of records that are explained
	// offsets that hold no event: markers of transactions, what was aborted or compacted
	markers   map[lake.Partition]lake.Offsets
	differing map[lake.Partition]lake.Offsets // records said to repeat one that is another event
	other     map[lake.Partition]lake.Offsets // replays that were not meant for the raw store
}

func newEvidence() evidence {
	return evidence{
		stored: map[lake.Partition]lake.Offsets{}, erased: map[lake.Partition]lake.Offsets{},
		dead:       map[lake.Partition]lake.Offsets{},
		duplicates: map[lake.Partition][]lake.Duplicate{},
	}
}

// merge adds what one more source says. Spans may be in any order until tidy.
func (e *evidence) merge(c lake.Coverage) {
	for p, spans := range c.Stored {
		e.stored[p] = append(e.stored[p], spans...)
	}
	for p, spans := range c.Erased {
		e.erased[p] = append(e.erased[p], spans...)
	}
	for p, spans := range c.Origins {
		e.dead[p] = append(e.dead[p], spans...)
	}
	for p, ds := range c.Duplicates {
		e.duplicates[p] = append(e.duplicates[p], ds...)
	}
}

// tidy must come between merging and asking.
func (e *evidence) tidy() {
	for _, sets := range e.sets() {
		for p, spans := range sets {
			sets[p] = lake.NewOffsets(spans...)
		}
	}
	for _, ds := range e.duplicates {
		slices.SortStableFunc(ds, byOffset)
	}
}

func byOffset(a, b lake.Duplicate) int { return cmp.Compare(a.Offset, b.Offset) }

// with returns both, which are tidy, and leaves them as they are.
func (e *evidence) with(more evidence) evidence {
	out := newEvidence()
	for i, sets := range e.sets() {
		maps.Copy(out.sets()[i], sets)
		for p, set := range more.sets()[i] {
			out.sets()[i][p] = sets[p].Union(set)
		}
	}
	maps.Copy(out.duplicates, e.duplicates)
	for p, ds := range more.duplicates {
		out.duplicates[p] = joined(slices.Clip(e.duplicates[p]), ds)
	}
	return out
}

// add is with for its owner: it takes no longer for a long log. What with has
// returned before is not to be used any more.
func (e *evidence) add(more evidence) {
	for i, sets := range e.sets() {
		for p, set := range more.sets()[i] {
			sets[p] = sets[p].Add(set)
		}
	}
	for p, ds := range more.duplicates {
		e.duplicates[p] = joined(e.duplicates[p], ds)
	}
}

func joined(a, b []lake.Duplicate) []lake.Duplicate {
	n := len(a)
	a = append(a, b...)
	if n > 0 && n < len(a) && byOffset(a[n-1], a[n]) > 0 {
		slices.SortStableFunc(a, byOffset)
	}
	return a
}

func (e *evidence) sets() [3]map[lake.Partition]lake.Offsets {
	return [...]map[lake.Partition]lake.Offsets{e.stored, e.erased, e.dead}
}

// reach is what a run covers of one partition.
type reach struct {
	first, end int64 // [first, end)
	start      int64 // of the log: what lies before is gone
	committed  int64 // the next record that the responsible group will process
	stable     int64 // what lies behind may belong to a transaction that is open
}

// waiting is where the records begin that the group will still come to.
func (r reach) waiting() int64 { return max(r.start, r.committed) }

func (r reach) offsets() lake.Offsets {
	return lake.NewOffsets(lake.Span{First: r.first, Last: r.end - 1})
}

// finding says of each record of one partition what became of it. The sets do
// not overlap, and together they are the partition's reach.
type finding struct {
	stored, erased, duplicates, differing, dead, other, markers, inFlight, unexplained lake.Offsets
}

// verdict on a record that another one is said to repeat.
type verdict int

const (
	unproven verdict = iota
	pending          // the canonical record is in flight
	proven
)

// judge explains every record of the reach of one partition. A record that is
// both stored and dead-lettered - a slow group processed what the spillway had
// taken - counts as stored. reaches are those of all partitions, at is the part of
// the partition's that is judged.
func (e *evidence) judge(p lake.Partition, at reach, reaches map[lake.Partition]reach) finding {
	left := at.offsets()
	take := func(set lake.Offsets) lake.Offsets {
		got := left.And(set)
		left = left.Minus(got)
		return got
	}
	var f finding
	f.stored = take(e.stored[p])
	f.erased = take(e.erased[p])
	var repeats, waiting []lake.Span
	for _, d := range e.within(p, at) {
		switch s := (lake.Span{First: d.Offset, Last: d.Offset}); e.follow(d.Of, reaches) {
		case proven:
			repeats = append(repeats, s)
		case pending:
			waiting = append(waiting, s)
		}
	}
	f.differing = take(e.differing[p].Minus(e.dead[p]))
	f.duplicates = take(lake.NewOffsets(repeats...).Union(e.replayed[p].And(left)).Minus(e.differing[p]))
	f.dead = take(e.dead[p])
	f.other = take(e.other[p])
	f.markers = take(e.markers[p])
	f.inFlight = take(lake.NewOffsets(lake.Span{First: at.waiting(), Last: at.end - 1}).Union(lake.NewOffsets(waiting...)))
	f.unexplained = left
	return f
}

// within returns the duplicates in the reach.
func (e *evidence) within(p lake.Partition, at reach) []lake.Duplicate {
	ds := e.duplicates[p]
	from := sort.Search(len(ds), func(i int) bool { return ds[i].Offset >= at.first })
	to := sort.Search(len(ds), func(i int) bool { return ds[i].Offset >= at.end })
	return ds[from:to]
}

// chainMost bounds duplicates of duplicates: claims expire, so chains exist,
// but short ones.
const chainMost = 64

// follow tells whether a canonical record is explained itself: a duplicate of
// nothing is a loss.
func (e *evidence) follow(c event.Coordinates, reaches map[lake.Partition]reach) verdict {
	for range chainMost {
		p := lake.PartitionOf(c)
		if e.stored[p].Has(c.Offset) || e.erased[p].Has(c.Offset) || e.dead[p].Has(c.Offset) {
			return proven
		}
		ds := e.duplicates[p]
		i := sort.Search(len(ds), func(i int) bool { return ds[i].Offset >= c.Offset })
		if i < len(ds) && ds[i].Offset == c.Offset && ds[i].Of != c {
			c = ds[i].Of
			continue
		}
		if at, ok := reaches[p]; ok && c.Offset >= at.waiting() && c.Offset < at.end {
			return pending
		}
		return unproven
	}
	return unproven
}
