package sketch

import "math"

// Exact is a running sum of doubles kept to twice their precision, as an
// unevaluated sum Hi+Lo. Adding is commutative and associative to 2^-100
// relative error: sums of readings of ordinary magnitude are exact, so that
// their nearest double, Hi, does not depend on the order of arrival.
//
// A sum beyond the range of a double stays at ±MaxFloat64.
type Exact struct{ Hi, Lo float64 }

// twoSum returns a+b rounded, and the rounding error.
func twoSum(a, b float64) (s, e float64) {
	s = a + b
	bb := s - a
	return s, (a - (s - bb)) + (b - bb)
}

// Add adds a number.
func (x *Exact) Add(v float64) {
	s, e := twoSum(x.Hi, v)
	x.set(twoSum(s, e+x.Lo))
}

// Merge adds another sum.
func (x *Exact) Merge(y Exact) {
	s, e := twoSum(x.Hi, y.Hi)
	t, f := twoSum(x.Lo, y.Lo)
	s, e = twoSum(s, e+t)
	x.set(twoSum(s, e+f))
}

// AddSquare adds v².
func (x *Exact) AddSquare(v float64) {
	p := v * v
	if math.IsInf(p, 0) {
		x.Add(math.MaxFloat64)
		return
	}
	x.Merge(Exact{p, math.FMA(v, v, -p)})
}

func (x *Exact) set(hi, lo float64) {
	if d := hi - hi + lo - lo; d == 0 { // both finite
		x.Hi, x.Lo = hi, lo
		return
	}
	x.saturate(hi)
}

func (x *Exact) saturate(hi float64) {
	x.Lo = 0
	switch {
	case math.IsInf(hi, 1), math.IsNaN(hi) && x.Hi > 0:
		x.Hi = math.MaxFloat64
	default:
		x.Hi = -math.MaxFloat64
	}
}

// Deviations returns the sum of squared deviations from the mean (m2) of n
// values with the given sum and sum of squares.
func Deviations(n int64, sum, squares Exact) float64 {
	if n < 2 {
		return 0
	}
	// squares - sum²/n, with sum² and the quotient in twice the precision.
	p := sum.Hi * sum.Hi
	e := math.FMA(sum.Hi, sum.Hi, -p) + 2*float64(sum.Hi*sum.Lo)
	f := float64(n)
	q := p / f
	r := (math.FMA(-q, f, p) + e) / f
	m2 := (squares.Hi - q) + (squares.Lo - r)
	if !(m2 > 0) { // rounding below zero, or a saturated sum
		return 0
	}
	return math.Min(m2, math.MaxFloat64)
}
