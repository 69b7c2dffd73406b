package rollup

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"
)

// distributions are the shapes of readings that the tests use.
func distributions(r *rand.Rand) map[string]func() float64 {
	return map[string]func() float64{
		"temperatures around zero": func() float64 { return math.Round(r.NormFloat64()*200) / 10 },
		"below zero":               func() float64 { return -40 - 30*r.Float64() },
		"long tail":                func() float64 { return math.Exp(4 * r.NormFloat64()) },
		"seven decades":            func() float64 { return math.Pow(10, 7*r.Float64()) * float64(1-2*r.IntN(2)) },
		"constant":                 func() float64 { return 21.5 },
		"mostly zero":              func() float64 { return max(0, r.NormFloat64()) },
		"counters":                 func() float64 { return float64(r.IntN(1_000_000)) },
	}
}

func TestRollup_QuantilesAreWithinOnePercent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, next := range distributions(r) {
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
func TestRollup_MergingLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, next := range distributions(r) {
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
func TestRollup_SketchIsBounded(t *testing.T) {
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

func TestRollup_SumsDoNotDependOnTheOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for name, next := range distributions(r) {
		values := make([]float64, 500)
		for i := range values {
			values[i] = next()
		}
		var want *Metric
		for range 20 {
			r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			row := &Row{}
			for part := range slices.Chunk(values, 1+r.IntN(100)) {
				p := &Row{}
				for _, v := range part {
					p.metric(0, "x", func(s string) string { return s }).add(v, 0)
				}
				row.fold(p)
			}
			m := row.Metrics[0]
			if want == nil {
				want = m
			}
			if m.Sum.hi != want.Sum.hi || math.Abs(m.m2()-want.m2()) > 1e-15*want.m2() {
				t.Errorf("%s: sum %v and m2 %v, then %v and %v", name, want.Sum.hi, want.m2(), m.Sum.hi, m.m2())
			}
		}
	}
}

// Cancellation that ruins a plain sum of squares.
func TestRollup_DeviationsOfNearlyEqualReadings(t *testing.T) {
	m := &Metric{}
	for _, v := range []float64{1e9 + 0.25, 1e9 + 0.5, 1e9 + 0.75} {
		m.add(v, 0)
	}
	if m.m2() != 0.125 {
		t.Errorf("m2 is %v, expected 0.125", m.m2())
	}
}

// Readings whose sum is no double must not make a row that JSON or SQL can't
// hold.
func TestRollup_AbsurdReadingsStayFinite(t *testing.T) {
	row := &Row{}
	for _, v := range []float64{math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64, 5e-324, 0, math.Copysign(0, -1),
		1e200} {
		row.metric(0, "x", func(s string) string { return s }).add(v, 0)
		row.fold(&Row{Metrics: []*Metric{{Name: "x", Count: 1, Sum: exact{v, 0}, Squares: exact{math.MaxFloat64, 0}, Min: v,
			Max: v, Sketch: Sketch{{keyOf(v), 1}}}}})
		for i, f := range row.appendStats(nil) {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				t.Fatalf("after %v, number %d is %v", v, i, f)
			}
		}
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
