package rollup

import "math"

// exact is a running sum of doubles kept to twice their precision, as an
// unevaluated sum hi+lo. Adding is commutative and associative to 2^-100
// relative error: sums of readings of ordinary magnitude are exact, so that
// their nearest double, hi, does not depend on the order of arrival.
//
// A sum beyond the range of a double stays at ±MaxFloat64.
type exact struct{ hi, lo float64 }

// twoSum returns a+b rounded, and the rounding error.
func twoSum(a, b float64) (s, e float64) {
	s = a + b
	bb := s - a
	return s, (a - (s - bb)) + (b - bb)
}

func (x *exact) add(v float64) {
	s, e := twoSum(x.hi, v)
	x.set(twoSum(s, e+x.lo))
}

func (x *exact) merge(y exact) {
	s, e := twoSum(x.hi, y.hi)
	t, f := twoSum(x.lo, y.lo)
	s, e = twoSum(s, e+t)
	x.set(twoSum(s, e+f))
}

// addSquare adds v².
func (x *exact) addSquare(v float64) {
	p := v * v
	if math.IsInf(p, 0) {
		x.add(math.MaxFloat64)
		return
	}
	x.merge(exact{p, math.FMA(v, v, -p)})
}

func (x *exact) set(hi, lo float64) {
	if d := hi - hi + lo - lo; d == 0 { // both finite
		x.hi, x.lo = hi, lo
		return
	}
	x.saturate(hi)
}

func (x *exact) saturate(hi float64) {
	x.lo = 0
	switch {
	case math.IsInf(hi, 1), math.IsNaN(hi) && x.hi > 0:
		x.hi = math.MaxFloat64
	default:
		x.hi = -math.MaxFloat64
	}
}

// deviations returns the sum of squared deviations from the mean (m2) of n
// values with the given sum and sum of squares.
func deviations(n int64, sum, squares exact) float64 {
	if n < 2 {
		return 0
	}
	// squares - sum²/n, with sum² and the quotient in twice the precision.
	p := sum.hi * sum.hi
	e := math.FMA(sum.hi, sum.hi, -p) + 2*float64(sum.hi*sum.lo)
	f := float64(n)
	q := p / f
	r := (math.FMA(-q, f, p) + e) / f
	m2 := (squares.hi - q) + (squares.lo - r)
	if !(m2 > 0) { // rounding below zero, or a saturated sum
		return 0
	}
	return math.Min(m2, math.MaxFloat64)
}
