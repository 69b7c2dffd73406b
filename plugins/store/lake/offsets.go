package lake

import (
	"slices"
	"sort"
)

// Offsets is a set of offsets of one partition: spans that are sorted, and
// neither overlap nor touch. The zero value is empty; operations return new
// sets and leave theirs alone.
type Offsets []Span

// NewOffsets makes a set of spans in any order. Empty ones are nothing.
func NewOffsets(spans ...Span) Offsets {
	kept := make([]Span, 0, len(spans))
	for _, s := range spans {
		if s.First <= s.Last {
			kept = append(kept, s)
		}
	}
	return normal(kept)
}

// Count is how many offsets there are.
func (a Offsets) Count() (n int64) {
	for _, s := range a {
		n += s.Last - s.First + 1
	}
	return n
}

// Has tells whether an offset is in the set.
func (a Offsets) Has(offset int64) bool {
	i := sort.Search(len(a), func(i int) bool { return a[i].Last >= offset })
	return i < len(a) && a[i].First <= offset
}

// Union returns what is in either.
func (a Offsets) Union(b Offsets) Offsets {
	switch {
	case len(a) == 0:
		return slices.Clone(b)
	case len(b) == 0:
		return slices.Clone(a)
	}
	return normal(slices.Concat(a, b))
}

// And returns what is in both.
func (a Offsets) And(b Offsets) (out Offsets) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
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

// Minus returns what is in a and not in b.
func (a Offsets) Minus(b Offsets) (out Offsets) {
	j := 0
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
