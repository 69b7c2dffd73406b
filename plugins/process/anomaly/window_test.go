package anomaly

import (
	"math"
	"math/rand/v2"
	"testing"
)

func naive(values []float64) stats {
	var s stats
	for _, v := range values {
		s.n++
		s.mean += v
	}
	if s.n == 0 {
		return s
	}
	s.mean /= s.n
	for _, v := range values {
		s.m2 += (v - s.mean) * (v - s.mean)
	}
	return s
}

func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(a), math.Abs(b))
}

func same(a, b stats) bool {
	return a.n == b.n && near(a.mean, b.mean, 1e-9) && near(a.stddev(), b.stddev(), 1e-5)
}

// Random readings at random times, late ones and gaps included, against a list
// of everything that a window may still hold.
func TestAnomaly_WindowHoldsWhatANaiveRecomputationHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var w window
		var kept []struct {
			bucket int32
			v      float64
		}
		head, level, spread := int32(r.IntN(1000)-500), r.NormFloat64()*1e4, math.Exp(r.NormFloat64()*3)
		for range 400 {
			switch r.IntN(20) {
			case 0:
				head += int32(r.IntN(20))
			case 1, 2:
				head++
			}
			bucket := head - int32(r.IntN(3)*r.IntN(8))
			v := level + r.NormFloat64()*spread
			if ok := w.at(bucket); ok != (bucket > w.head-slots) {
				t.Fatalf("bucket %d of head %d let in: %v", bucket, w.head, ok)
			} else if !ok {
				continue
			}
			w.add(bucket, v)
			kept = append(kept, struct {
				bucket int32
				v      float64
			}{bucket, v})
			var values []float64
			for _, k := range kept {
				if k.bucket > w.head-slots {
					values = append(values, k.v)
				}
			}
			if got, want := w.stats(), naive(values); !same(got, want) {
				t.Fatalf("holds %+v, want %+v", got, want)
			}
		}
	}
}

func TestAnomaly_ScoreOfManyReadingsIsTheirsAndOfFewIsLess(t *testing.T) {
	many := stats{n: 1e6, mean: 10, m2: 4 * (1e6 - 1)}
	if z := zscore(16, many, floors{}, 0); !near(z, 3, 1e-4) {
		t.Errorf("3 standard deviations score %v", z)
	}
	// the probability of |t| > 3 with 9 degrees of freedom is 0.014956, which a
	// normal deviate of 2.4336 has; the new reading's own mean adds sqrt(1.1)
	few := stats{n: 10, mean: 0, m2: 9}
	if z := zscore(3*math.Sqrt(1.1), few, floors{}, 0); !near(z, 2.4336, 5e-3) {
		t.Errorf("scores %v", z)
	}
	for n := 3.0; n < 1e5; n *= 1.7 {
		s := stats{n: n, mean: 5, m2: n - 1}
		if up, down := zscore(9, s, floors{}, 0), zscore(1, s, floors{}, 0); up <= 0 || !near(up, -down, 1e-9) || up > 4 {
			t.Errorf("of %v readings: %v and %v", n, up, down)
		}
	}
}

func TestAnomaly_ConstantSeriesDividesByNothing(t *testing.T) {
	for _, level := range []float64{0, 20, -3, 1e300, -1e-300} {
		s := stats{n: 100, mean: level}
		if z := zscore(level, s, floors{Relative: 0.001}, 0); z != 0 {
			t.Errorf("at %v: scores %v", level, z)
		}
		for _, v := range []float64{level + 1, -1e308, 1e308, math.MaxFloat64} {
			if z := zscore(v, s, floors{Relative: 0.001}, 0); math.IsNaN(z) || math.Abs(z) > maxScore {
				t.Errorf("at %v, %v scores %v", level, v, z)
			}
		}
	}
	if z := zscore(20.01, stats{n: 1e5, mean: 20}, floors{Relative: 0.001}, 0); z > 1 {
		t.Errorf("half a thousandth of the mean scores %v", z)
	}
}

func TestAnomaly_ReadingsAtTheEndsOfADoubleAreSurvived(t *testing.T) {
	s := newTestSeries(t, `{name: z, detector: zscore, metrics: ["*"]}`)
	for i := range 2000 {
		v := []float64{math.MaxFloat64, -math.MaxFloat64, 1, 0}[i%4]
		s.feed(float64(i*10), v)
	}
	before := len(s.out)
	for i := range 1000 { // whatever that did, it passes
		s.feed(float64(20000+i*10), float64(i%3))
	}
	s.feed(30010, 50)
	if n := len(s.out); n <= before || s.out[n-1].Transition != didOpen {
		t.Errorf("a jump opens nothing after %v", s.out)
	}
}
