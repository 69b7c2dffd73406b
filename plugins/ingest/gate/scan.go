package gate

import (
	"bytes"

	"weir/internal/event"
	"weir/internal/platform/rawjson"
)

// maxIDLen is the longest event_id that a reply repeats.
const maxIDLen = 128

const fieldMetrics = event.FieldMetrics

// shape is what the structure of an event tells about its size.
type shape struct {
	depth   int // levels of nesting
	metrics int // members of /metrics, or elements
	longest int // bytes of the longest string or name
}

// scan reads one element by its structure and picks up its event_id.
type scan struct {
	id        []byte
	device    []byte // as sent, between its quotes; the first, where there are more
	inMetrics bool   // within the value of the top-level member "metrics"
	shape
}

// structural marks the bytes that matter outside of strings.
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
			s.longest = max(s.longest, end-i-1)
			if depth == 1 {
				i = s.member(b, i, end)
			} else {
				i = end
			}
		case '{', '[':
			if depth++; depth > s.depth {
				s.depth = depth
			}
			if depth == 2 && s.inMetrics {
				s.metrics = 1 // and one more for each comma: an empty object counts as one
			}
		case '}', ']':
			if depth == 0 {
				if c == ']' {
					return i
				}
				return len(b)
			}
			depth--
		case ',':
			switch depth {
			case 0:
				return i
			case 1:
				s.inMetrics = false
			case 2:
				if s.inMetrics {
					s.metrics++
				}
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

// member looks at the string from i to the quote at end, which at the top level
// may be the name of a member: event_id or device_id, whose value is noted when
// it is a string, or metrics. It returns where it has read to.
func (s *scan) member(b []byte, i, end int) int {
	name := b[i+1 : end]
	if len(name) > len(fieldMetrics) && bytes.IndexByte(name, '\\') >= 0 {
		if _, _, err := rawjson.String(b[:end+1], i); err != nil {
			return end
		}
		name = rawjson.Unquote(name)
	}
	isID := s.id == nil && string(name) == event.FieldID
	isDevice := s.device == nil && string(name) == event.FieldDevice
	if !isID && !isDevice && string(name) != fieldMetrics {
		return end
	}
	v := rawjson.Space(b, end+1)
	if v == len(b) || b[v] != ':' {
		return end
	}
	if !isID && !isDevice {
		s.inMetrics = true
		return v
	}
	v = rawjson.Space(b, v+1)
	if v == len(b) || b[v] != '"' {
		return v - 1
	}
	valueEnd := stringEnd(b, v)
	if valueEnd == len(b) {
		return end // the caller will find the same
	}
	s.longest = max(s.longest, valueEnd-v-1)
	if isDevice {
		s.device = b[v+1 : valueEnd]
		return valueEnd
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
