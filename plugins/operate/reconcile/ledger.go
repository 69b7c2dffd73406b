package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"sort"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

// evidence is what the stores, and the dead letters in the log, say about the records of the log.
type evidence struct {
	stored map[lake.Partition]lake.Offsets // the record has a row in the store of its topic
	// its row or dead letter was erased, or was refused because of an erasure
	erased map[lake.Partition]lake.Offsets
	dead   map[lake.Partition]lake.Offsets // the record has a dead letter
	// proofs that the record is a duplicate of another one, sorted by offset
	duplicates map[lake.Partition][]lake.Duplicate
	replayed   map[lake.Partition]lake.Offsets // replayed records whose first delivery is explained
	// offsets without an event: markers of transactions, aborted and compacted records
	markers   map[lake.Partition]lake.Offsets
	differing map[lake.Partition]lake.Offsets // records that are said to be duplicates, but of another event
	other     map[lake.Partition]lake.Offsets // replayed records that are not for the raw store
}

func newEvidence() evidence {
	return evidence{
		stored: map[lake.Partition]lake.Offsets{}, erased: map[lake.Partition]lake.Offsets{},
		dead:       map[lake.Partition]lake.Offsets{},
		duplicates: map[lake.Partition][]lake.Duplicate{},
	}
}

// merge adds the coverage of one more source. Spans may be in any order until tidy.
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

// tidy sorts and joins the spans. It must be called after the last merge and before any query.
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

// with returns the union of two tidy evidences, and does not change them.
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

// add adds more evidence in place, so its time does not depend on the length of the log. Results of earlier calls of
// with must not be used any more.
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

// reach is the range of offsets of one partition that a run covers.
type reach struct {
	first, end int64 // [first, end)
	start      int64 // the start of the log: earlier records have been deleted
	committed  int64 // the next record that the responsible group will process
	stable     int64 // later records may belong to an open transaction
}

// waiting returns the first offset that the group has yet to process.
func (r reach) waiting() int64 { return max(r.start, r.committed) }

func (r reach) offsets() lake.Offsets {
	return lake.NewOffsets(lake.Span{First: r.first, Last: r.end - 1})
}

// finding has the outcome of each record of one partition. The sets are disjoint, and their union is the reach.
type finding struct {
	stored, erased, duplicates, differing, dead, other, markers, inFlight, unexplained lake.Offsets
}

// verdict is the judgement on a record of which another one is said to be a duplicate.
type verdict int

const (
	unproven verdict = iota
	pending          // the canonical record is in flight
	proven
)

// judge finds the outcome of every record in at, a part of the reach of partition p. reaches are those of all
// partitions. A record that is both stored and dead-lettered counts as stored: a slow group processed it after the
// spillway had dead-lettered it.
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

// chainMost bounds chains of duplicates of duplicates. They exist because claims expire, but are short.
const chainMost = 64

// follow returns the verdict on a canonical record: a duplicate of a record that is not explained is a loss.
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
