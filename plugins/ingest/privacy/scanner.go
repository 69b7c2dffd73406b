package privacy

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"weir/internal/event"
	"weir/internal/platform/pii"
)

// Scanner counts the personal data in what is stored, and changes nothing. It
// finds what the processor finds, and no more: a value that the processor has
// masked, hashed or tokenised is none. It is not safe for concurrent use.
type Scanner struct {
	w, pointers *walker
	parts       map[string]string // of pointers, by the names as they are
	each        func(pointer, kind string)
}

// Bounds of a pointer that is told. The rest of it reads "…".
const (
	mostParts   = 24
	mostPointer = 256
)

// leastText is how long text among other bytes must be: what is shorter is there
// by chance.
const leastText = 6

// NewScanner makes a scanner. Regions are those of phone_regions; names tells
// whether names of fields count.
func NewScanner(regions []string, names bool) (*Scanner, error) {
	finder, err := pii.New(regions)
	if err != nil {
		return nil, fmt.Errorf("reading the regions of phone numbers: %w", err)
	}
	p := &policy{finder: finder, names: names, keys: &keyring{}, fields: &node{}} // everything is masked
	known := map[string]named{}
	s := &Scanner{parts: map[string]string{}, pointers: &walker{p: p, root: p.fields, known: known}}
	s.w = &walker{p: p, root: p.fields, known: known}
	s.w.told = func(k kind) {
		s.each(s.pointer(), k.String())
	}
	return s, nil
}

// Value calls each with the pointer and the type of everything personal in a
// value of a name: of a document within the value as a JSON pointer, with * for
// elements of arrays and for names of fields that hold the find themselves, else
// "". A pointer holds what the processor would leave of its names.
func (s *Scanner) Value(name string, value []byte, each func(pointer, kind string)) {
	if len(value) == 0 {
		return
	}
	s.each = each
	defer func() { s.w.found = [kinds]int64{} }()
	switch trimmed := bytes.TrimLeft(value, " \t\r\n"); {
	case len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[' || trimmed[0] == '"'):
		s.w.bytes(value)
		return
	case fromUTF16(value) != nil:
		s.w.mask(fromUTF16(value)) // and as bytes, since it is a guess
	}
	says := s.w.says([]byte(name))
	if says.is && s.w.p.names {
		if value = bytes.TrimSpace(value); len(value) > 0 && !stands(value) {
			each("", says.kind.String())
		}
		return
	}
	hint := says.hint
	if name == event.FieldDevice {
		hint = pii.HintNone // as of a device_id in an event
	}
	for text := range texts(value) {
		s.w.replace(text, false, hint)
	}
	s.w.rest()
}

// texts are the parts of a value that are text: all of it, or what is between
// bytes that are none.
func texts(value []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		from := 0
		for i := 0; i <= len(value); {
			r, size := rune(-1), 1
			if i < len(value) {
				r, size = utf8.DecodeRune(value[i:])
			}
			known := r != utf8.RuneError || size > 1
			if known && r != 0x7f && (r >= ' ' || r == '\n' || r == '\t' || r == '\r') {
				i += size
				continue
			}
			if (i-from >= leastText || from == 0 && i == len(value)) && !yield(value[from:i]) {
				return
			}
			i += size
			from = i
		}
	}
}

// pointer is the place that is open in the walker, or in the one within it that
// reads a document in a string.
func (s *Scanner) pointer() string {
	var b strings.Builder
	parts := 0
	for w := s.w; w != nil; w = w.inner {
		for i := 1; i < len(w.frames); i++ {
			if parts++; parts > mostParts || b.Len() > mostPointer {
				b.WriteString("/…")
				return b.String()
			}
			b.WriteByte('/')
			if f := &w.frames[i]; f.object && f.member {
				b.WriteString(s.part(w.b[f.named[0]:f.named[1]]))
			} else {
				b.WriteByte('*')
			}
		}
	}
	return b.String()
}

// part is a name as it may be told.
func (s *Scanner) part(raw []byte) string {
	if len(raw) > mostPointer {
		return "…"
	}
	part, ok := s.parts[string(raw)]
	if !ok {
		masked, _ := s.pointers.replace(raw, true, pii.HintNone)
		part = event.EscapePointer(strings.ToValidUTF8(string(unescape(masked)), "\uFFFD"))
		if len(s.parts) >= mostNames {
			clear(s.parts)
		}
		s.parts[string(raw)] = part
	}
	return part
}
