package rollup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// For any readings, min ≤ p50 ≤ p95 ≤ max and min ≤ avg ≤ max hold in each resolution, in the
// views of both databases and in responses.
func TestAverage_LiesBetweenMinAndMax(t *testing.T) {
	series := [][]float64{
		{3.7, 3.7, 3.7, 3.7, 3.7, 3.7}, {0.1, 0.1, 0.1}, {-3.7, -3.7, -3.7, -3.7, -3.7, -3.7},
		{math.MaxFloat64, math.MaxFloat64}, {-math.MaxFloat64, -math.MaxFloat64, -1e308}, {math.MaxFloat64, -math.MaxFloat64},
		{5e-324, 5e-324}, {5e-324, 0}, {-5e-324, 0, 0}, {0, math.Copysign(0, -1)}, {1e-310, 3e-310, 2e-310},
	}
	for range 60 {
		value := math.Round(rand.NormFloat64()*1000) / math.Pow10(rand.IntN(4))
		same := make([]float64, 1+rand.IntN(40))
		for i := range same {
			same[i] = value
		}
		series = append(series, same)
	}
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		var events []string
		for n, values := range series {
			for i, v := range values {
				at := noon.Add(time.Duration(i*7%120) * time.Second) // two minutes
				events = append(events, testEvent(1000*n+i, "a", at, fmt.Sprintf(`{"m%d":%s}`, n, strconv.FormatFloat(v, 'g', -1,
					64))))
			}
		}
		add(t, s, noon, windowsOf(t, "acme", events...))
		finish(t, s)
		between := func(what string, l viewLine) {
			t.Helper()
			if !(l.min <= l.avg && l.avg <= l.max && l.min <= l.p50 && l.p50 <= l.p95 && l.p95 <= l.max) {
				t.Errorf("%s: %+v", what, l)
			}
		}
		for _, view := range []string{"rollup_1m", "rollup_1h", "rollup_1d"} {
			lines := readView(t, s, `SELECT metric, count, sum, min, max, avg, m2, p50, p95, last FROM `+view)
			for _, l := range lines {
				between(view, l)
			}
			if len(lines) < len(series) {
				t.Errorf("%s has %d lines of %d series", view, len(lines), len(series))
			}
		}
		for key, row := range dump(t, s) {
			for _, m := range row.Metrics {
				between(key+" "+m.Name, viewLine{min: m.Min, max: m.Max, avg: m.avg(), p50: m.quantile(0.5), p95: m.quantile(0.95)})
			}
		}
	})
}
