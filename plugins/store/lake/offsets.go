package lake

import (
	"slices"
	"sort"
)

// Offsets is a set of offsets of one partition: sorted spans that neither overlap nor touch. The
// zero value is empty. Operations return new sets and do not change their operands, except Add.
type Offsets []Span

// NewOffsets returns the set of some spans in any order. Empty spans are ignored.
func NewOffsets(spans ...Span) Offsets {
	kept := make([]Span, 0, len(spans))
	for _, s := range spans {
		if s.First <= s.Last {
			kept = append(kept, s)
		}
	}
	return normal(kept)
}

// Count returns the number of offsets.
func (a Offsets) Count() (n int64) {
	for _, s := range a {
		n += s.Last - s.First + 1
	}
	return n
}

// Has reports whether an offset is in the set.
func (a Offsets) Has(offset int64) bool {
	i := a.from(offset)
	return i < len(a) && a[i].First <= offset
}

// Union returns the offsets that are in a or b.
func (a Offsets) Union(b Offsets) Offsets {
	switch {
	case len(a) == 0:
		return slices.Clone(b)
	case len(b) == 0:
		return slices.Clone(a)
	}
	out := make(Offsets, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		if len(a) == 0 || len(b) > 0 && b[0].First < a[0].First {
			a, b = b, a
		}
		if n := len(out); n > 0 && a[0].First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, a[0].Last)
		} else {
			out = append(out, a[0])
		}
		a = a[1:]
	}
	return out
}

// Add is Union, but may reuse and change the memory of a, if b follows a.
func (a Offsets) Add(b Offsets) Offsets {
	switch n := len(a); {
	case n == 0 || len(b) == 0 || b[0].First <= a[n-1].Last:
		return a.Union(b)
	case b[0].First == a[n-1].Last+1:
		a[n-1].Last = b[0].Last
		return append(a, b[1:]...)
	}
	return append(a, b...)
}

// from returns the index of the first span that ends at the offset or after it.
func (a Offsets) from(offset int64) int {
	return sort.Search(len(a), func(i int) bool { return a[i].Last >= offset })
}

// And returns the offsets that are in a and b.
func (a Offsets) And(b Offsets) (out Offsets) {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	for i, j := a.from(b[0].First), b.from(a[0].First); i < len(a) && j < len(b); {
		if first, last := max(a[i].First, b[j].First), min(a[i].Last, b[j].Last); first <= last {
			out = append(out, Span{first, last})
		}
		if a[i].Last < b[j].Last {
			i++
		} else {
			j++
		}
	}
	return out
}

// Minus returns the offsets that are in a but not in b.
func (a Offsets) Minus(b Offsets) (out Offsets) {
	if len(a) == 0 {
		return nil
	}
	j := b.from(a[0].First)
	for _, s := range a {
		for j < len(b) && b[j].Last < s.First {
			j++
		}
		next := s.First
		for k := j; k < len(b) && b[k].First <= s.Last; k++ {
			if b[k].First > next {
				out = append(out, Span{next, b[k].First - 1})
			}
			next = b[k].Last + 1
		}
		if next <= s.Last {
			out = append(out, Span{next, s.Last})
		}
	}
	return out
}
