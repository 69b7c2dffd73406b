package sketch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weir/tests/integration/testbed"

	"github.com/DataDog/sketches-go/ddsketch"
)

func rank(q float64, n int) int { return max(int(math.Ceil(q*float64(n)-1e-9))-1, 0) }

func TestSketch_QuantilesAreWithinOnePercent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, next := range testbed.Readings(r) {
		for _, n := range []int{1, 2, 3, 10, 1000} {
			var s Sketch
			values := make([]float64, n)
			for i := range values {
				values[i] = next()
				s.Add(values[i])
			}
			slices.Sort(values)
			for _, q := range []float64{0, 0.01, 0.5, 0.95, 0.99, 1} {
				want, got := values[rank(q, n)], s.Quantile(q)
				if math.Abs(got-want) > accuracy*math.Abs(want)*(1+1e-9) {
					t.Errorf("%s, %d readings: q%v is %v, expected %v", name, n, q, got, want)
				}
			}
		}
	}
}

// Merging in any order and grouping gives the bins of one sketch of all
// readings, and those of the library that defines the format.
func TestSketch_MergingLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, next := range testbed.Readings(r) {
		library, err := ddsketch.NewDefaultDDSketch(accuracy)
		if err != nil {
			t.Fatal(err)
		}
		var all, merged Sketch
		parts := make([]Sketch, 50)
		for range 5000 {
			v := next()
			all.Add(v)
			parts[r.IntN(len(parts))].Add(v)
			if err := library.Add(v); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range r.Perm(len(parts)) {
			merged.Merge(parts[i])
		}
		if !slices.Equal(all, merged) || merged.Count() != 5000 {
			t.Errorf("%s: merged sketch differs", name)
		}
		bins := 0
		library.GetPositiveValueStore().ForEach(func(index int, n float64) bool {
			bins++
			i, ok := slices.BinarySearchFunc(merged, int32(index)+keyZero, func(b bin, k int32) int {
				return int(b.key) - int(k)
			})
			if !ok || float64(merged[i].n) != n {
				t.Errorf("%s: bin %d holds another count than the library's %v", name, index, n)
			}
			return false
		})
		positive := 0
		for _, b := range merged {
			if b.key > 0 {
				positive++
			}
		}
		if bins != positive {
			t.Errorf("%s: %d positive bins, the library has %d", name, positive, bins)
		}
	}
}

// However absurd the readings, a sketch stays small and keeps their number.
func TestSketch_SketchesOfOneRoomDoNotMeet(t *testing.T) {
	room, apart := Room(3, 2), make([]Sketch, 3)
	for v := range 10 {
		for i := range room {
			room[i].Add(float64(v * (i + 1)))
			apart[i].Add(float64(v * (i + 1)))
		}
	}
	for i := range room {
		if !slices.Equal(room[i], apart[i]) {
			t.Errorf("sketch %d is %v, alone it would be %v", i, room[i], apart[i])
		}
	}
}

func TestSketch_SketchIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	values := make([]float64, 30_000)
	for i := range values {
		values[i] = math.Float64frombits(r.Uint64())
		if math.IsNaN(values[i]) || math.IsInf(values[i], 0) {
			values[i] = math.MaxFloat64
		}
	}
	var first, second Sketch
	for _, v := range values {
		first.Add(v)
	}
	slices.Reverse(values)
	for part := range slices.Chunk(values, 300) {
		var s Sketch
		for _, v := range part {
			s.Add(v)
		}
		second.Merge(s)
	}
	if len(first) != maxBins || first.Count() != uint64(len(values)) {
		t.Errorf("%d bins of %d readings", len(first), first.Count())
	}
	if !slices.Equal(first, second) {
		t.Error("which bins survive depends on the order")
	}
	if !slices.IsSortedFunc(first, func(a, b bin) int { return int(a.key) - int(b.key) }) {
		t.Error("not sorted")
	}
}

func BenchmarkSketchAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Sketch
	b.ReportAllocs()
	for b.Loop() {
		s.Add(20 + 10*r.Float64())
	}
}

func BenchmarkSketchMerge(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	parts := make([]Sketch, 60)
	for i := range parts {
		for range 6 {
			parts[i].Add(20 + 10*r.Float64())
		}
	}
	b.ReportAllocs()
	i := 0
	var s Sketch
	for b.Loop() {
		s.Merge(parts[i%60])
		i++
	}
}

func TestSketch_ComesBackAsItWas(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for name, next := range testbed.Readings(r) {
		var s Sketch
		for range r.IntN(300) {
			s.Add(next())
		}
		b := s.Append([]byte("x"))
		back, rest, ok := Decode(append(b[1:], 7))
		if !ok || !slices.Equal(back, s) || len(rest) != 1 {
			t.Errorf("%s: %v %d", name, ok, len(rest))
		}
		for cut := range len(b) - 1 {
			if _, _, ok := Decode(b[1 : 1+cut]); ok && cut < len(b)-1 {
				t.Fatalf("%s: cut after %d bytes, it is read all the same", name, cut)
			}
		}
	}
}
