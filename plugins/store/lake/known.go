package lake

import (
	"sort"
	"sync"
	"time"

	"weir/internal/event"
)

// knownRecords is the set of records that a store has as rows, or as duplicates or erased in its
// coverage. It has the time at which each was written: a record that was received later is another
// record with the same coordinates, because the topic was created again, and is not in the set. It
// is safe for concurrent use.
type knownRecords struct {
	mu   sync.RWMutex
	runs map[Partition][]run
}

// run is a span of offsets that one object covers. The runs of a partition are sorted and do not
// overlap.
type run struct {
	Span
	written int64 // microseconds since 1970
}

// Has reports whether the record is known. A zero received time is not compared.
func (k *knownRecords) Has(c event.Coordinates, received time.Time) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	runs := k.runs[PartitionOf(c)]
	if n := len(runs); n == 0 || runs[n-1].Last < c.Offset {
		return false
	}
	i := sort.Search(len(runs), func(i int) bool { return runs[i].Last >= c.Offset })
	return runs[i].First <= c.Offset && (received.IsZero() || received.UnixMicro() <= runs[i].written)
}

// Last returns the highest known offset of a partition, or -1.
func (k *knownRecords) Last(p Partition) int64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if runs := k.runs[p]; len(runs) > 0 {
		return runs[len(runs)-1].Last
	}
	return -1
}

// Add adds what an object covers.
func (k *knownRecords) Add(c Coverage, written time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.runs == nil {
		k.runs = map[Partition][]run{}
	}
	at := micros(written).UnixMicro()
	for p, spans := range c.settled() {
		for _, s := range spans {
			k.runs[p] = insert(k.runs[p], run{s, at})
		}
	}
}

// Forget removes what was written before t.
func (k *knownRecords) Forget(t time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := t.UnixMicro()
	for p, runs := range k.runs {
		kept := runs[:0]
		for _, r := range runs {
			if r.written >= at {
				kept = append(kept, r)
			}
		}
		if k.runs[p] = kept; len(kept) == 0 {
			delete(k.runs, p)
		}
	}
}

// insert adds r. Where runs overlap, the later time counts. Neighbours with the same time are
// joined.
func insert(runs []run, r run) []run {
	n := len(runs)
	if n == 0 || runs[n-1].Last < r.First {
		return emit(runs, r)
	}
	from := sort.Search(n, func(i int) bool { return runs[i].Last >= r.First })
	to := from
	for to < n && runs[to].First <= r.Last {
		to++
	}
	out := append(make([]run, 0, n+2), runs[:from]...)
	next := r.First
	for _, old := range runs[from:to] {
		first, last := max(old.First, r.First), min(old.Last, r.Last)
		out = emit(out, run{Span{old.First, first - 1}, old.written})
		out = emit(out, run{Span{next, first - 1}, r.written})
		out = emit(out, run{Span{first, last}, max(old.written, r.written)})
		out = emit(out, run{Span{last + 1, old.Last}, old.written})
		next = last + 1
	}
	out = emit(out, run{Span{next, r.Last}, r.written})
	for _, old := range runs[to:] {
		out = emit(out, old)
	}
	return out
}

// emit appends a run, or joins it to the last one. An empty run is ignored.
func emit(runs []run, r run) []run {
	if r.First > r.Last {
		return runs
	}
	if n := len(runs); n > 0 && runs[n-1].Last+1 == r.First && runs[n-1].written == r.written {
		runs[n-1].Last = r.Last
		return runs
	}
	return append(runs, r)
}
