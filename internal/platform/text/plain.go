package text

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Plain tells whether a text can be a name: 1 to most bytes, without control characters and U+FFFD.
func Plain(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == 0xFFFD
	})
}

// Storable tells whether every SQL store takes a text: PostgreSQL refuses one with a
// zero byte, or with bytes that are not UTF-8.
func Storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// Stored is a text as every SQL store takes it. What one would refuse is escaped: a zero
// byte as \u0000, a byte that is not UTF-8 as \xff.
func Stored(s string) string {
	if Storable(s) {
		return s
	}
	to := make([]byte, 0, len(s)+16)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == 0:
			to = append(to, `\u0000`...)
		case r == utf8.RuneError && n == 1:
			to = fmt.Appendf(to, `\x%02x`, s[0])
		default:
			to = append(to, s[:n]...)
		}
		s = s[n:]
	}
	return string(to)
}
