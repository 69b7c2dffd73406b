package rule

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// setOf is a set of random hashes.
func setOf(r *rand.Rand, n int) *distinct {
	var d distinct
	for range n {
		d.addHash(r.Uint64())
	}
	return &d
}

func (d *distinct) clone() *distinct { return &distinct{slices.Clone(d.few), slices.Clone(d.regs)} }

func (d *distinct) is(o *distinct) bool {
	return slices.Equal(d.few, o.few) && bytes.Equal(d.regs, o.regs)
}

// A set that has forgotten a value is the same, to the byte, whether the value had been in it or not, whatever the
// others are: of any rank, in a register that others set higher, as high, lower, or not at all. Its text forgets as it
// does, and forgetting again changes nothing.
func TestForget_NobodyCanTellWhoWasThere(t *testing.T) {
	var seen [4]int // the others' register is higher than the value's rank, the same, lower, empty
	check := func(others *distinct, h uint64) {
		t.Helper()
		without, with := others.clone(), others.clone()
		with.addHash(h)
		if others.regs != nil {
			at, rank := register(h)
			switch have := others.regs[at]; {
			case have > rank:
				seen[0]++
			case have == rank:
				seen[1]++
			case have > 0:
				seen[2]++
			default:
				seen[3]++
			}
		}
		texts := map[string]bool{}
		for _, d := range []*distinct{with, without} {
			text := d.appendText(nil)
			f := &forgetting{hash: h}
			f.forgetText(text)
			text = bytes.ReplaceAll(text, []byte{taken}, nil)
			d.forget(h)
			texts[string(text)], texts[string(d.appendText(nil))] = true, true
			if once := d.clone(); once.forget(h) || !once.is(d) {
				t.Fatalf("forgetting %016x again changes the set", h)
			}
		}
		if !with.is(without) || len(texts) != 1 {
			t.Fatalf("with %016x and without, the set is another one", h)
		}
		if others.regs == nil && !without.is(others) {
			t.Fatal("a list lost others")
		}
	}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 23))
		n := int(math.Pow(200_000, r.Float64()))
		others := setOf(r, n)
		if others.regs == nil && len(others.few) == exactDistinct {
			continue // with one more it is no list
		}
		for range 200 {
			h := r.Uint64()
			if r.IntN(3) == 0 { // of a high rank
				h = h&^(1<<(64-precision)-1) | h>>r.IntN(50)&(1<<(64-precision)-1)
			}
			check(others, h)
		}
	}
	full := &distinct{regs: bytes.Repeat([]byte{9}, registers)} // all others hold more
	for rank := range 9 {
		check(full, 77<<(64-precision)|1<<(63-precision-rank))
	}
	if slices.Min(seen[:]) < 50 {
		t.Errorf("too few cases: %v", seen)
	}
	exact := setOf(rand.New(rand.NewPCG(1, 23)), exactDistinct)
	one := exact.clone()
	one.addHash(7)
	if one.forget(7); one.regs == nil || one.count() < exactDistinct-20 || one.count() > exactDistinct+20 {
		t.Errorf("of %d and one more that was forgotten: %d", exactDistinct, one.count())
	}
}

// off is the root mean square of what shares are off by, and their mean.
func off(shares []float64) (rms, mean float64) {
	for _, x := range shares {
		rms += x * x
		mean += x
	}
	n := float64(len(shares))
	return math.Sqrt(rms / n), mean / n
}

// A set that has forgotten 100 values counts those that are left within what is said of any set, and as near on
// average: from 300 to a million values, where these were in the set and where not, and again after a second erasure of
// all. (Of ten thousand values sets are off by more than is said, whatever they forgot.)
func TestForget_CountsAreWithinTheirBound(t *testing.T) {
	for _, c := range []struct{ n, seeds int }{{300, 400}, {1000, 400}, {4096, 400}, {10_000, 200}, {30_000, 200},
		{100_000, 100}, {1_000_000, tortured(20)}} {
		for _, there := range []bool{true, false} {
			var never, forgot []float64
			for seed := range uint64(c.seeds) {
				r := rand.New(rand.NewPCG(seed, uint64(c.n)))
				names := make([]uint64, 100)
				for i := range names {
					names[i] = r.Uint64()
				}
				left := setOf(r, c.n-len(names)) // enough for registers
				all := left.clone()
				for _, h := range names {
					if there {
						all.addHash(h)
					}
				}
				for _, d := range []*distinct{left, all} {
					if d.regs == nil {
						d.many()
					}
				}
				for range 2 {
					for _, h := range names {
						all.forget(h)
					}
				}
				n := float64(c.n - len(names))
				never = append(never, float64(left.count())/n-1)
				forgot = append(forgot, float64(all.count())/n-1)
			}
			was, wasMean := off(never)
			is, isMean := off(forgot)
			text := fmt.Sprintf("%d values, there %t: off by %.2f %%, mean %+.2f %%; never there: %.2f %%, %+.2f %%", c.n, there,
				100*is, 100*isMean, 100*was, 100*wasMean)
			t.Log(text)
			if is > 1.1*max(UniquesError, was) || math.Abs(isMean-wasMean) > 0.004 {
				t.Error(text)
			}
		}
	}
}

// Sets of windows and partitions that have forgotten are added up within the same bound: where everybody comes in each
// window, where nobody comes twice, and between. Where some of the windows are from after the erasure, and have nothing
// to forget, a register that was lent is added to what is there: a sum of few people is higher by a percent and a half
// when a hundred were erased.
func TestForget_UnionsAreWithinTheirBound(t *testing.T) {
	for _, c := range []struct {
		n, windows, partitions int
		again                  float64 // how likely somebody comes in a window
		before                 float64 // which share of the windows began before the erasure
	}{{1500, 60, 1, 0.9, 1}, {2000, 60, 1, 0.5, 1}, {8000, 60, 2, 0.2, 1}, {20_000, 60, 1, 1.0 / 60, 1},
		{20_000, 24, 4, 0.5, 1}, {100_000, 24, 4, 0.1, 1}, {1500, 60, 1, 0.9, 0.75}, {8000, 60, 2, 0.2, 0.5},
		{100_000, 24, 4, 0.1, 0.5}} {
		var never, forgot []float64
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, uint64(c.n)))
			people := make([]uint64, c.n) // the first 100 are forgotten
			for i := range people {
				people[i] = r.Uint64()
			}
			var all, others Uniques
			counted := map[uint64]bool{}
			for w := range c.windows {
				before := w < int(c.before*float64(c.windows))
				sets, left := make([]distinct, c.partitions), make([]distinct, c.partitions)
				for i, h := range people {
					if r.Float64() >= c.again || i < 100 && !before {
						continue
					}
					sets[i%c.partitions].addHash(h)
					if i >= 100 {
						left[i%c.partitions].addHash(h)
						counted[h] = true
					}
				}
				for k := range sets {
					for _, h := range people[:100] {
						if before {
							sets[k].forget(h)
						}
					}
					if err := all.Add(string(sets[k].appendText(nil))); err != nil {
						t.Fatal(err)
					}
					others.of.merge(&left[k])
				}
			}
			never = append(never, float64(others.Count())/float64(len(counted))-1)
			forgot = append(forgot, float64(all.Count())/float64(len(counted))-1)
		}
		was, wasMean := off(never)
		is, isMean := off(forgot)
		text := fmt.Sprintf("%+v: off by %.2f %%, mean %+.2f %%; never there: %.2f %%, %+.2f %%", c, 100*is, 100*isMean,
			100*was, 100*wasMean)
		t.Log(text)
		bound := 1.1 * max(UniquesError, was)
		if c.before < 1 {
			bound += 0.01
		}
		if is > bound {
			t.Error(text)
		}
	}
}

// What is forgotten over and over, with others in between, does not drift.
func TestForget_AgainAndAgainIsNoDrift(t *testing.T) {
	for _, n := range []int{400, 4000, 100_000} {
		r := rand.New(rand.NewPCG(5, uint64(n)))
		d, names := setOf(r, n), make([]uint64, 100)
		for i := range names {
			names[i] = r.Uint64()
			d.addHash(names[i])
		}
		pass := func() {
			for _, h := range names {
				d.forget(h)
			}
		}
		pass()
		pass()
		want := d.count()
		for range 50 {
			slices.Reverse(names)
			pass()
		}
		if got := d.count(); math.Abs(float64(got-want)) > 0.003*float64(want) {
			t.Errorf("of %d: %d, and after 50 more passes %d", n, want, got)
		}
	}
}
