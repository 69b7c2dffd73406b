package gate

import (
	"bytes"

	"weir/plugins/rawjson"
)

// maxIDLen is the longest event_id that a reply repeats.
const maxIDLen = 128

var fieldID = []byte("event_id")

// scan reads one element by its structure and picks up its event_id.
type scan struct {
	id []byte
}

// structural classes the bytes that matter outside of strings.
var structural = func() (t [256]bool) {
	for _, c := range `"{}[],` {
		t[c] = true
	}
	return t
}()

// element returns the position of the comma or bracket that ends the element
// which starts at i, len(b) when there is none.
func (s *scan) element(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		c := b[i]
		if !structural[c] {
			continue
		}
		switch c {
		case '"':
			end := stringEnd(b, i)
			if end == len(b) {
				return end
			}
			if depth == 1 && s.id == nil && end-i >= len(fieldID)+1 {
				i = s.member(b, i, end)
			} else {
				i = end
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				if c == ']' {
					return i
				}
				return len(b)
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// stringEnd returns the position of the quote that closes the string whose
// opening quote is at i, len(b) when there is none.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		end := i + n
		k := end
		for k > i && b[k-1] == '\\' {
			k--
		}
		if (end-k)%2 == 0 {
			return end
		}
		i = end
	}
	return len(b)
}

// member looks at the string from i to the quote at end, which may be the name
// of a member. When it is event_id with a string for a value, the id is noted.
// It returns where it has read to.
func (s *scan) member(b []byte, i, end int) int {
	name := b[i+1 : end]
	if !bytes.Equal(name, fieldID) {
		if bytes.IndexByte(name, '\\') < 0 {
			return end
		}
		if _, _, err := rawjson.String(b[:end+1], i); err != nil || !bytes.Equal(rawjson.Unquote(name), fieldID) {
			return end
		}
	}
	v := rawjson.Space(b, end+1)
	if v == len(b) || b[v] != ':' {
		return end
	}
	v = rawjson.Space(b, v+1)
	if v == len(b) || b[v] != '"' {
		return end
	}
	valueEnd := stringEnd(b, v)
	if valueEnd == len(b) {
		return end // the caller will find the same
	}
	if id := b[v+1 : valueEnd]; len(id) > 0 && len(id) <= maxIDLen && plainASCII(id) {
		s.id = id
	}
	return valueEnd
}

// plainASCII tells whether b can stand in a JSON string as it is.
func plainASCII(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
