package pii

import (
	"unicode"
	"unicode/utf8"
)

// Text is a folded text that maps each of its bytes back to the raw bytes. A text with nothing to fold shares the raw
// bytes' memory. A Text may be reused; it must not be used concurrently.
type Text struct {
	Folded []byte
	mapped bool
	buf    []byte
	from   []uint32 // for each folded byte, its start in the raw bytes
	to     []uint32 // and its end
}

// maxFolded is the maximum length of a text to fold: positions have 32 bits.
const maxFolded = 1 << 31

// Fold folds a text. escaped says that raw is the content of a JSON string, whose escapes it then resolves; URL and
// HTML escapes it always resolves. A byte that is not UTF-8 stays in an unfolded text and becomes a space in a folded
// one.
func (t *Text) Fold(raw []byte, escaped bool) {
	t.Folded, t.mapped = raw, false
	if !needsFolding(raw) || len(raw) >= maxFolded {
		return
	}
	t.mapped = true
	t.buf, t.from, t.to = t.buf[:0], t.from[:0], t.to[:0]
	for i := range raw {
		t.put(raw[i], uint32(i), uint32(i+1))
	}
	if escaped {
		t.pass('\\', jsonEscape)
	}
	for range 2 { // %2540 is an @ too
		t.pass('%', urlEscape)
	}
	t.pass('&', htmlEscape)
	t.letters()
	t.Folded = t.buf
}

// Raw returns where Folded[from:to] lies in the raw bytes.
func (t *Text) Raw(from, to int) (int, int) {
	if !t.mapped || from >= to {
		return from, to
	}
	return int(t.from[from]), int(t.to[to-1])
}

func needsFolding(raw []byte) bool {
	for _, c := range raw {
		if c >= utf8.RuneSelf || c == '\\' || c == '%' || c == '&' {
			return true
		}
	}
	return false
}

func (t *Text) put(c byte, from, to uint32) {
	t.buf, t.from, t.to = append(t.buf, c), append(t.from, from), append(t.to, to)
}

// pass resolves the escapes that begin with mark, in place: no character is longer than its escape.
func (t *Text) pass(mark byte, read func([]byte) (rune, int)) {
	n := 0
	for i := 0; i < len(t.buf); {
		r, size := rune(0), 0
		if t.buf[i] == mark {
			r, size = read(t.buf[i:])
		}
		if size == 0 {
			t.buf[n], t.from[n], t.to[n] = t.buf[i], t.from[i], t.to[i]
			n++
			i++
			continue
		}
		from, to := t.from[i], t.to[i+size-1]
		i += size
		if mark == '%' { // may be part of a multi-byte character
			t.buf[n], t.from[n], t.to[n] = byte(r), from, to
			n++
			continue
		}
		var enc [utf8.UTFMax]byte
		for _, c := range enc[:utf8.EncodeRune(enc[:], r)] {
			t.buf[n], t.from[n], t.to[n] = c, from, to
			n++
		}
	}
	t.buf, t.from, t.to = t.buf[:n], t.from[:n], t.to[:n]
}

// letters replaces characters that look like ASCII by ASCII and removes those without width.
func (t *Text) letters() {
	n := 0
	for i := 0; i < len(t.buf); {
		if c := t.buf[i]; c < utf8.RuneSelf {
			if c < ' ' && c != '\n' {
				c = ' '
			}
			t.buf[n], t.from[n], t.to[n] = c, t.from[i], t.to[i]
			n++
			i++
			continue
		}
		r, size := utf8.DecodeRune(t.buf[i:])
		from, to := t.from[i], t.to[i+size-1]
		switch ascii := folded(r); {
		case r == utf8.RuneError && size == 1:
			t.buf[n], t.from[n], t.to[n] = ' ', from, to // not text: separates words
			n++
		case ascii == 0:
			for k := range size {
				t.buf[n], t.from[n], t.to[n] = t.buf[i+k], from, to
				n++
			}
		case ascii > 0:
			t.buf[n], t.from[n], t.to[n] = byte(ascii), from, to
			n++
		}
		i += size
	}
	t.buf, t.from, t.to = t.buf[:n], t.from[:n], t.to[:n]
}

// folded returns the ASCII character for r, 0 to keep r, or -1 to remove it.
func folded(r rune) rune {
	switch {
	case r >= 0xFF01 && r <= 0xFF5E: // full-width forms
		return r - 0xFEE0
	case r == 0xFE6B:
		return '@'
	case r == 0x3002, r == 0xFF61, r == 0x2024, r == 0xFE52:
		return '.'
	case r >= 0x2010 && r <= 0x2015, r == 0x2212, r == 0xFE58, r == 0xFE63:
		return '-'
	case r == 0x2044, r == 0x2215:
		return '/'
	case r == 0xFE62:
		return '+'
	case r == 0x034F, r >= 0xFE00 && r <= 0xFE0F, r == 0x115F, r == 0x1160, r == 0x3164, unicode.Is(unicode.Cf, r):
		return -1
	case r == 0x2028, r == 0x2029, unicode.Is(unicode.Zs, r):
		return ' '
	case unicode.Is(unicode.Nd, r):
		return '0' + digitOf(r)
	}
	return 0
}

// digitOf returns the value of a decimal digit: Unicode has them in blocks of ten.
func digitOf(r rune) rune {
	for _, in := range unicode.Nd.R16 {
		if r >= rune(in.Lo) && r <= rune(in.Hi) {
			return (r - rune(in.Lo)) % 10
		}
	}
	for _, in := range unicode.Nd.R32 {
		if r >= rune(in.Lo) && r <= rune(in.Hi) {
			return (r - rune(in.Lo)) % 10
		}
	}
	return 0
}

// Size returns the bytes of memory that the Text keeps for reuse.
func (t *Text) Size() int { return cap(t.buf) + 4*cap(t.from) + 4*cap(t.to) }
