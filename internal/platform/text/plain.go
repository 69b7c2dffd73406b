package text

import "strings"

// Plain tells whether a text has 1 to most bytes, and no character that ends a line,
// moves a cursor or stands for what could not be read: whether it can be the name of
// something.
func Plain(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == 0xFFFD
	})
}
