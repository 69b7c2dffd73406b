package rawjson

import (
	"errors"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// errRange says that a number is valid JSON but not a finite double.
var errRange = errors.New("number is outside the range of a double")

// Document checks that b is exactly one valid value, with optional white space around it.
func Document(b []byte) error {
	i, err := Value(b, Space(b, 0), 0)
	if err != nil {
		return err
	}
	if i = Space(b, i); i < len(b) {
		return fail(i, "unexpected data after the value")
	}
	return nil
}

// Has tells whether a document, which is an object, has a member of a name.
func Has(b []byte, name string) (has bool, err error) {
	i, err := Object(b, Space(b, 0), 0, func(key []byte, plain bool, i int) (int, error) {
		has = has || plain && string(key) == name || !plain && string(Unquote(key)) == name
		return Value(b, i, 1)
	})
	if err != nil {
		return false, err
	}
	if i = Space(b, i); i < len(b) {
		return false, fail(i, "unexpected data after the value")
	}
	return has, nil
}

// Unquote returns the value of a string's content, its escapes resolved. The
// content must have been read by String.
func Unquote(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		switch s[i+1] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(s, i+2)
			i += 4
			if utf16.IsSurrogate(r) {
				lo, _ := hex4(s, i+4)
				r = utf16.DecodeRune(r, lo)
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, s[i+1])
		}
		i += 2
	}
	return out
}

// Text returns a string's content as a Go string. If plain, it shares the memory of s, which must not change
// afterwards.
func Text(s []byte, plain bool) string {
	if !plain {
		s = Unquote(s)
	}
	return Alias(s)
}

// Alias returns b as a string without copying: b must not change afterwards.
func Alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// Float returns the nearest double of a number that Number has scanned. Numbers of up to fifteen digits without
// exponent take a fast exact path.
func Float(b []byte) (float64, error) {
	i, neg := 0, false
	if b[0] == '-' {
		neg, i = true, 1
	}
	var mant uint64
	frac, n := 0, 0
	for point := false; i < len(b); i++ {
		switch c := b[i]; {
		case c >= '0' && c <= '9':
			mant = mant*10 + uint64(c-'0')
			if n++; point {
				frac++
			}
		case c == '.':
			point = true
		default: // an exponent
			return slowFloat(b)
		}
		if n > 15 {
			return slowFloat(b)
		}
	}
	f := float64(mant) / pow10[frac] // exact operands, one rounding: correct
	if neg {
		f = -f
	}
	return f, nil
}

func slowFloat(b []byte) (float64, error) {
	f, err := strconv.ParseFloat(Alias(b), 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, errRange
	}
	return f, nil
}

// Bytes returns s as bytes without copying: they must not be changed.
func Bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
