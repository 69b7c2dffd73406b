// Package rawjson parses JSON in place: strictly, in one pass, without building values. It is the only JSON code on
// the hot path. Everything it accepts is valid under RFC 8259 and also has valid UTF-8, no duplicate keys, no number
// beyond the range of a double, and at most MaxDepth levels.
//
// Positions are byte offsets into the slice that was passed, so that errors have a position and callers can take
// sub-slices without copying.
package rawjson

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// MaxDepth is the maximum nesting depth of objects and arrays.
const MaxDepth = 64

// SyntaxError says what is wrong at which byte.
type SyntaxError struct {
	Offset int
	Msg    string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Msg, e.Offset) }

func fail(i int, msg string) error { return &SyntaxError{Offset: i, Msg: msg} }

// Space returns the first position at or after i that is not JSON white space.
func Space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// stringByte is 1 for bytes in a string that need a closer look.
var stringByte = func() (t [256]byte) {
	for c := range t {
		if c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			t[c] = 1
		}
	}
	return t
}()

// String scans the string whose opening quote is at i. Its content is b[i+1:end-1]; plain is true when that contains
// no escape and so needs no decoding.
func String(b []byte, i int) (end int, plain bool, err error) {
	if i >= len(b) || b[i] != '"' {
		return i, false, fail(i, "expected a string")
	}
	plain = true
	for i++; ; {
		if i = plainBytes(b, i); i == len(b) {
			return i, false, fail(i, "string does not end")
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, plain, nil
		case c == '\\':
			plain = false
			n, err := escape(b, i)
			if err != nil {
				return i, false, err
			}
			i += n
		case c < 0x20:
			return i, false, fail(i, "control character in a string")
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n <= 1 {
				return i, false, fail(i, "invalid UTF-8")
			}
			i += n
		}
	}
}

// plainBytes returns the first position at or after i whose byte is not plain, or len(b). It examines eight bytes at
// a time; the lowest set bit marks the first such byte.
func plainBytes(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^ones*'"', w^ones*'\\'
		if found := ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash | w) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && stringByte[b[i]] == 0 {
		i++
	}
	return i
}

// escape returns the length of the escape sequence at i. An unpaired surrogate is an error: it is not Unicode text
// and cannot be stored.
func escape(b []byte, i int) (int, error) {
	if i+1 >= len(b) {
		return 0, fail(i, "string does not end")
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case 'u':
		r, ok := hex4(b, i+2)
		if !ok {
			return 0, fail(i, `\u must be followed by four hex digits`)
		}
		switch {
		case r >= 0xDC00 && r < 0xE000:
			return 0, fail(i, "unpaired surrogate")
		case r >= 0xD800 && r < 0xDC00:
			if i+7 < len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
				if lo, ok := hex4(b, i+8); ok && lo >= 0xDC00 && lo < 0xE000 {
					return 12, nil
				}
			}
			return 0, fail(i, "unpaired surrogate")
		}
		return 6, nil
	}
	return 0, fail(i, "unknown escape")
}

func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// Number scans the number that starts at i.
func Number(b []byte, i int) (end int, err error) {
	start := i
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && b[i] >= '1' && b[i] <= '9':
		i = digits(b, i)
	default:
		return start, fail(start, "expected a number")
	}
	if i < len(b) && b[i] == '.' {
		j := digits(b, i+1)
		if j == i+1 {
			return start, fail(j, "expected a digit after the decimal point")
		}
		i = j
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		j := digits(b, i)
		if j == i {
			return start, fail(j, "expected a digit in the exponent")
		}
		i = j
		if !inRange(b[start:i]) {
			return start, fail(start, errRange.Error())
		}
	}
	if i-start > maxDigits && !inRange(b[start:i]) {
		return start, fail(start, errRange.Error())
	}
	return i, nil
}

// maxDigits is the length up to which a number without an exponent is always a finite double.
const maxDigits = 300

func inRange(number []byte) bool {
	_, err := slowFloat(number)
	return err == nil
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// Value scans any value that starts at i (after white space) and returns the position after it. depth is the number
// of enclosing levels.
func Value(b []byte, i, depth int) (end int, err error) {
	if i >= len(b) {
		return i, fail(i, "unexpected end")
	}
	switch c := b[i]; c {
	case '{':
		return Object(b, i, depth, nil)
	case '[':
		return Array(b, i, depth, nil)
	case '"':
		end, _, err = String(b, i)
		return end, err
	case 't':
		return literal(b, i, "true")
	case 'f':
		return literal(b, i, "false")
	case 'n':
		return literal(b, i, "null")
	default:
		if c == '-' || (c >= '0' && c <= '9') {
			return Number(b, i)
		}
		return i, fail(i, "expected a value")
	}
}

func literal(b []byte, i int, word string) (int, error) {
	if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
		return i + len(word), nil
	}
	return i, fail(i, "expected a value")
}

// Field is called for each member of an object: key is the raw text between the quotes, plain says that it has no
// escapes, and i is where the value starts. It returns where the value ends; to skip a value, call Value.
type Field func(key []byte, plain bool, i int) (end int, err error)

// Object scans the object whose brace is at i and rejects duplicate keys. With a nil field it checks and skips all
// values.
func Object(b []byte, i, depth int, field Field) (end int, err error) {
	if i >= len(b) || b[i] != '{' {
		return i, fail(i, "expected an object")
	}
	if depth >= MaxDepth {
		return i, fail(i, "nested too deeply")
	}
	var seen keys
	i = Space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		start, plain := i, false
		if i, plain, err = String(b, i); err != nil {
			return i, err
		}
		key := b[start+1 : i-1]
		if err = seen.add(b, start+1, i-1, plain); err != nil {
			return start, err
		}
		if i = Space(b, i); i >= len(b) || b[i] != ':' {
			return i, fail(i, "expected a colon")
		}
		i = Space(b, i+1)
		if field == nil {
			i, err = Value(b, i, depth+1)
		} else {
			i, err = field(key, plain, i)
		}
		if err != nil {
			return i, err
		}
		i = Space(b, i)
		switch {
		case i >= len(b):
			return i, fail(i, "object does not end")
		case b[i] == ',':
			i = Space(b, i+1)
		case b[i] == '}':
			return i + 1, nil
		default:
			return i, fail(i, "expected a comma or a closing brace")
		}
	}
}

// Array scans the array whose bracket is at i and calls elem with the start of each element; elem returns where the
// element ends. A nil elem checks and skips all elements.
func Array(b []byte, i, depth int, elem func(i int) (end int, err error)) (end int, err error) {
	if i >= len(b) || b[i] != '[' {
		return i, fail(i, "expected an array")
	}
	if depth >= MaxDepth {
		return i, fail(i, "nested too deeply")
	}
	i = Space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, nil
	}
	for {
		if elem == nil {
			i, err = Value(b, i, depth+1)
		} else {
			i, err = elem(i)
		}
		if err != nil {
			return i, err
		}
		i = Space(b, i)
		switch {
		case i >= len(b):
			return i, fail(i, "array does not end")
		case b[i] == ',':
			i = Space(b, i+1)
		case b[i] == ']':
			return i + 1, nil
		default:
			return i, fail(i, "expected a comma or a closing bracket")
		}
	}
}

// keys remembers the keys of one object: a few by their position, more in a map.
type keys struct {
	few [16]span
	n   int
	all map[string]struct{}
}

type span struct{ from, to uint32 }

// add adds the key b[from:to] and fails if it is a duplicate.
func (k *keys) add(b []byte, from, to int, plain bool) error {
	if k.all == nil && plain && k.n < len(k.few) && uint64(to) <= math.MaxUint32 {
		key := b[from:to]
		for _, have := range k.few[:k.n] {
			if string(b[have.from:have.to]) == string(key) {
				return fail(from-1, "duplicate key")
			}
		}
		k.few[k.n] = span{uint32(from), uint32(to)}
		k.n++
		return nil
	}
	if k.all == nil {
		k.all = make(map[string]struct{}, 4*len(k.few))
		for _, have := range k.few[:k.n] {
			k.all[string(b[have.from:have.to])] = struct{}{}
		}
	}
	key := Text(b[from:to], plain)
	if _, dup := k.all[key]; dup {
		return fail(from-1, "duplicate key")
	}
	k.all[strings.Clone(key)] = struct{}{}
	return nil
}
