package text

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable escapes everything in s that would affect a terminal: control characters except line feeds and tabs,
// marks that change the text direction, and bytes that are not UTF-8. Characters are escaped as in JSON (\u001b), so
// that JSON keeps its meaning; other bytes as \x9b.
func Printable(s string) string {
	if i := strings.IndexFunc(s, hidden); i < 0 {
		return s
	}
	return string(appendPrintable(make([]byte, 0, len(s)+16), []byte(s)))
}

// hidden tells whether a character is not shown as itself, including U+FFFD, which may stand for an invalid byte.
func hidden(r rune) bool {
	return r != '\n' && r != '\t' && (r == utf8.RuneError || !unicode.IsGraphic(r))
}

func appendPrintable(to, raw []byte) []byte {
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		switch {
		case r == utf8.RuneError && n == 1:
			to = fmt.Appendf(to, `\x%02x`, raw[0])
		case r == utf8.RuneError || !hidden(r):
			to = append(to, raw[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			to = fmt.Appendf(to, `\u%04x\u%04x`, high, low)
		default:
			to = fmt.Appendf(to, `\u%04x`, r)
		}
		raw = raw[n:]
	}
	return to
}

// Bar draws a progress bar of 24 characters in brackets. of must be above zero.
func Bar(done, of int64) string {
	const width = 24
	full := int(min(max(done, 0), of) * width / of)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// Printer is a writer that passes everything through Printable. It buffers an incomplete character at the end of a
// Write until the next; Close writes what is left.
type Printer struct {
	to   io.Writer
	held []byte
}

// NewPrinter returns a Printer that writes to a writer.
func NewPrinter(to io.Writer) *Printer { return &Printer{to: to} }

// Under returns the underlying writer, which does not escape.
func (p *Printer) Under() io.Writer { return p.to }

// Write implements io.Writer.
func (p *Printer) Write(raw []byte) (int, error) {
	all := append(p.held, raw...)
	whole := len(all) - cutOff(all)
	out := appendPrintable(make([]byte, 0, whole), all[:whole])
	p.held = append(p.held[:0:0], all[whole:]...)
	if _, err := p.to.Write(out); err != nil {
		return 0, err
	}
	return len(raw), nil
}

// Close implements io.Closer. It does not close the underlying writer.
func (p *Printer) Close() error {
	out := appendPrintable(nil, p.held)
	p.held = nil
	_, err := p.to.Write(out)
	return err
}

// cutOff returns the number of bytes at the end that begin a character without completing it.
func cutOff(raw []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(raw); n++ {
		tail := raw[len(raw)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
