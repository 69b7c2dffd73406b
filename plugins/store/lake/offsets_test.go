package lake

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The operations on random spans must agree with the same operations on a map, and must not change
// their arguments.
func TestLake_OffsetsAreASet(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 3))
		some := func() (Offsets, map[int64]bool) {
			var spans []Span
			m := map[int64]bool{}
			for range rng.IntN(8) {
				first := rng.Int64N(60)
				s := Span{first, first + rng.Int64N(12) - 2} // some are empty
				spans = append(spans, s)
				for o := s.First; o <= s.Last; o++ {
					m[o] = true
				}
			}
			return NewOffsets(spans...), m
		}
		a, inA := some()
		b, inB := some()
		check := func(what string, got Offsets, want func(o int64) bool) {
			t.Helper()
			n := int64(0)
			for o := int64(-5); o < 90; o++ {
				if got.Has(o) != want(o) {
					t.Fatalf("seed %d: %s of %v and %v is %v: wrong at %d", seed, what, a, b, got, o)
				}
				if want(o) {
					n++
				}
			}
			if got.Count() != n {
				t.Fatalf("seed %d: %s %v counts %d, expected %d", seed, what, got, got.Count(), n)
			}
			for i, s := range got {
				if s.First > s.Last || i > 0 && s.First <= got[i-1].Last+1 {
					t.Fatalf("seed %d: %s %v has spans that are empty, overlap or touch", seed, what, got)
				}
			}
		}
		check("the set", a, func(o int64) bool { return inA[o] })
		check("union", a.Union(b), func(o int64) bool { return inA[o] || inB[o] })
		check("and", a.And(b), func(o int64) bool { return inA[o] && inB[o] })
		check("minus", a.Minus(b), func(o int64) bool { return inA[o] && !inB[o] })
		check("add", slices.Clone(a).Add(b), func(o int64) bool { return inA[o] || inB[o] })
		check("a after the operations", a, func(o int64) bool { return inA[o] })
	}
}
