package rollup

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weir/internal/platform/sketch"
	"weir/tests/integration/testbed"
)

func TestRollup_SumsDoNotDependOnTheOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for name, next := range testbed.Readings(r) {
		values := make([]float64, 500)
		for i := range values {
			values[i] = next()
		}
		var want *metricRow
		for range 20 {
			r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			row := &windowRow{}
			for part := range slices.Chunk(values, 1+r.IntN(100)) {
				p := &windowRow{}
				for _, v := range part {
					p.metric(0, "x", func(s string) string { return s }).add(v, 0)
				}
				row.fold(p)
			}
			m := row.Metrics[0]
			if want == nil {
				want = m
			}
			if m.Sum.Hi != want.Sum.Hi || math.Abs(m.m2()-want.m2()) > 1e-15*want.m2() {
				t.Errorf("%s: sum %v and m2 %v, then %v and %v", name, want.Sum.Hi, want.m2(), m.Sum.Hi, m.m2())
			}
		}
	}
}

// Readings for which a plain sum of squares loses all digits by cancellation.
func TestRollup_DeviationsOfNearlyEqualReadings(t *testing.T) {
	m := &metricRow{}
	for _, v := range []float64{1e9 + 0.25, 1e9 + 0.5, 1e9 + 0.75} {
		m.add(v, 0)
	}
	if m.m2() != 0.125 {
		t.Errorf("m2 is %v, expected 0.125", m.m2())
	}
}

// Readings whose sum is beyond the range of a double must not make a row that JSON or SQL cannot
// represent.
func TestRollup_AbsurdReadingsStayFinite(t *testing.T) {
	row := &windowRow{}
	for _, v := range []float64{math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64, 5e-324, 0, math.Copysign(0, -1),
		1e200} {
		row.metric(0, "x", func(s string) string { return s }).add(v, 0)
		var s sketch.Sketch
		s.Add(v)
		row.fold(&windowRow{Metrics: []*metricRow{{Name: "x", Count: 1, Sum: sketch.Exact{Hi: v},
			Squares: sketch.Exact{Hi: math.MaxFloat64}, Min: v, Max: v, Sketch: s}}})
		for i, f := range row.appendStats(nil) {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				t.Fatalf("after %v, number %d is %v", v, i, f)
			}
		}
	}
}
