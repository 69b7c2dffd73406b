package anomaly

import "math"

// maxScore bounds what is reported: beyond it, more says nothing more.
const maxScore = 1e6

// floors keep a series that hardly moves from calling every step an anomaly,
// and a constant one from dividing by zero: the standard deviation counts as
// no less than these.
type floors struct {
	Absolute float64 // in the metric's unit
	Relative float64 // of the mean
}

func (f floors) of(s stats) float64 {
	return max(s.stddev(), f.Absolute, f.Relative*math.Abs(s.mean), 1e-9)
}

// zscore tells how many standard deviations a new reading lies from those
// before it, as if there were very many of them: with few, their mean and
// deviation are uncertain themselves, and the score is reduced accordingly
// (the prediction interval of Student's t distribution, by Wallace's
// approximation of the normal deviate of the same probability). A score that is
// below small anyway is not worked out further.
func zscore(v float64, s stats, f floors, small float64) float64 {
	t := (v - s.mean) / (f.of(s) * math.Sqrt(1+1/s.n))
	if d := s.n - 1; d < 1e4 && math.Abs(t) > small {
		z := (8*d + 1) / (8*d + 3) * math.Sqrt(d*math.Log1p(t*t/d))
		t = math.Copysign(z, t)
	}
	if math.IsNaN(t) {
		return 0 // readings at the ends of the range of a double: nothing can be said
	}
	return max(-maxScore, min(maxScore, t))
}

// clip pulls a reading that is out of bounds to the bound: an anomaly enters
// its own baseline as what just passes for normal.
func clip(v float64, s stats, f floors, bound float64) (clipped float64, out bool) {
	limit := bound * f.of(s) * math.Sqrt(1+1/s.n)
	switch d := v - s.mean; {
	case d > limit:
		return s.mean + limit, true
	case d < -limit:
		return s.mean - limit, true
	}
	return v, false
}
