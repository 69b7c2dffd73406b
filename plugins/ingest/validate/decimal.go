package validate

import (
	"bytes"
	"math"
	"math/big"
)

// decimal is a number of at most fifteen digits: exact.
type decimal struct {
	mantissa uint64
	places   int // digits after the point
	negative bool
}

// parseDecimal reads a number without exponent of at most fifteen digits.
func parseDecimal(b []byte) (d decimal, ok bool) {
	digits, point := 0, false
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9':
			d.mantissa = d.mantissa*10 + uint64(c-'0')
			if digits++; digits > 15 {
				return d, false
			}
			if point {
				d.places++
			}
		case c == '.':
			point = true
		case c == '-' && i == 0:
			d.negative = true
		default:
			return d, false
		}
	}
	return d, digits > 0
}

func toDecimal(r *big.Rat) (decimal, bool) {
	f, _ := r.Float64()
	if math.IsInf(f, 0) || f < 1e-15 {
		return decimal{}, false
	}
	d, ok := parseDecimal([]byte(r.FloatString(15)))
	if !ok { // more digits than fit: try without the zeros at the end
		text := bytes.TrimRight([]byte(r.FloatString(15)), "0")
		d, ok = parseDecimal(bytes.TrimRight(text, "."))
	}
	back, _ := new(big.Rat).SetString(r.FloatString(15))
	return d, ok && d.mantissa > 0 && back.Cmp(r) == 0
}

// multipleOf tells whether d is a whole number of m, which is positive; false
// also where the answer would need more than 64 bits.
func (d decimal) multipleOf(m decimal) bool {
	a, b := d.mantissa, m.mantissa
	for places := d.places; places < m.places; places++ {
		if a > math.MaxUint64/10 {
			return false
		}
		a *= 10
	}
	for places := m.places; places < d.places; places++ {
		if b > math.MaxUint64/10 {
			return false
		}
		b *= 10
	}
	return a%b == 0
}
