package anomaly

import "math"

// maxScore bounds the scores that are reported.
const maxScore = 1e6

// floors are lower bounds of the standard deviation. They keep a series that hardly moves from
// making every step an anomaly, and a constant one from a division by zero.
type floors struct {
	Absolute float64 // in the metric's unit
	Relative float64 // of the mean
}

func (f floors) of(s stats) float64 {
	return max(s.stddev(), f.Absolute, f.Relative*math.Abs(s.mean), 1e-9)
}

// zscore returns how many standard deviations a new reading is from the earlier ones, as if there
// were very many of these: with few, their mean and deviation are uncertain, and the score is
// reduced accordingly (by the prediction interval of Student's t distribution, with Wallace's
// approximation of the normal deviate of the same probability). A score below small is not refined,
// as it makes no difference.
func zscore(v float64, s stats, f floors, small float64) float64 {
	t := (v - s.mean) / (f.of(s) * math.Sqrt(1+1/s.n))
	if d := s.n - 1; d < 1e4 && math.Abs(t) > small {
		z := (8*d + 1) / (8*d + 3) * math.Sqrt(d*math.Log1p(t*t/d))
		t = math.Copysign(z, t)
	}
	if math.IsNaN(t) {
		return 0 // readings near the limits of a double: no score is possible
	}
	return max(-maxScore, min(maxScore, t))
}

// clip moves a reading that is out of bounds to the bound, so that an anomaly enters its own
// baseline as a value that is just normal.
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
