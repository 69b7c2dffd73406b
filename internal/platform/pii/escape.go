package pii

import (
	"strconv"
	"strings"
	"unicode/utf16"
)

// hexAt parses n hex digits.
func hexAt(b []byte, n int) (r rune, ok bool) {
	if len(b) < n {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[:n]), 16, 32)
	return rune(v), err == nil
}

// jsonEscape parses an escape of a JSON string; size is 0 if there is none.
func jsonEscape(b []byte) (r rune, size int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b', 'f', 'n', 'r', 't':
		return ' ', 2
	case 'u':
		r, ok := hexAt(b[2:], 4)
		if !ok {
			return 0, 0
		}
		if utf16.IsSurrogate(r) && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
			if low, ok := hexAt(b[8:], 4); ok {
				if pair := utf16.DecodeRune(r, low); pair != '\uFFFD' {
					return pair, 12
				}
			}
		}
		return r, 6 // an unpaired surrogate becomes U+FFFD
	}
	return 0, 0
}

// urlEscape parses %40.
func urlEscape(b []byte) (r rune, size int) {
	if len(b) < 3 {
		return 0, 0
	}
	r, ok := hexAt(b[1:], 2)
	if !ok {
		return 0, 0
	}
	return r, 3
}

// htmlEscape parses &#64;, &#x40; and the names of characters that occur in addresses.
func htmlEscape(b []byte) (r rune, size int) {
	const longest = len("&#1114111;")
	end := -1
	for i := 1; i < len(b) && i < longest; i++ {
		if b[i] == ';' {
			end = i
			break
		}
	}
	if end < 3 {
		return 0, 0
	}
	name := string(b[1:end])
	switch name {
	case "commat":
		return '@', end + 1
	case "period":
		return '.', end + 1
	case "nbsp":
		return ' ', end + 1
	case "plus":
		return '+', end + 1
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, 0
	}
	base := rune(10)
	if digits[0] == 'x' || digits[0] == 'X' {
		base, digits = 16, digits[1:]
	}
	for _, c := range []byte(digits) {
		v, hex := hexAt([]byte{c}, 1)
		if !hex || v >= base {
			return 0, 0
		}
		r = r*base + v
	}
	if digits == "" || r == 0 || r > 0x10FFFF {
		return 0, 0
	}
	return r, end + 1
}
