package etl

import (
	"strconv"
	"time"

	"weir/internal/platform/rawjson"
)

// slab gives out rows and texts, many of one allocation, which is kept for as long as
// one of them is: who keeps a row of many for long clones its cells.
type slab struct {
	cells []cell
	texts []byte
}

const (
	slabCells = 1024
	slabBytes = 32 << 10
)

// row is one of empty texts, which nobody else has.
func (s *slab) row(n int) row {
	if len(s.cells) < n {
		s.cells = make([]cell, max(n, slabCells))
	}
	r := s.cells[:n:n]
	s.cells = s.cells[n:]
	return r
}

// room makes room for n bytes of one text.
func (s *slab) room(n int) {
	if cap(s.texts)-len(s.texts) < n {
		s.texts = make([]byte, 0, max(n, slabBytes))
	}
}

// text is a copy.
func (s *slab) text(v []byte) string {
	s.room(len(v))
	from := len(s.texts)
	s.texts = append(s.texts, v...)
	return rawjson.Alias(s.texts[from:])
}

// number is the text of one.
func (s *slab) number(v int64) string {
	s.room(20)
	from := len(s.texts)
	s.texts = strconv.AppendInt(s.texts, v, 10)
	return rawjson.Alias(s.texts[from:])
}

// instant is the canonical text of a time, without what is finer than microseconds.
func (s *slab) instant(at time.Time) string {
	s.room(len(formTimestamp) + 1)
	from := len(s.texts)
	s.texts = append(at.UTC().AppendFormat(s.texts, formTimestamp), 'Z')
	return rawjson.Alias(s.texts[from:])
}

// postgresTime is the canonical text of a time that the server wrote in UTC; false: it
// is to be taken apart.
func (s *slab) postgresTime(t columnType, v []byte) (string, bool) {
	n := len(v)
	if t.kind == kindTimestampTZ {
		if n -= len("+00"); n < 0 || string(v[n:]) != "+00" {
			return "", false
		}
	}
	if n < len(formDate)+1 || v[len(formDate)] != ' ' {
		return "", false
	}
	s.room(n + 1)
	from := len(s.texts)
	out := append(s.texts, v[:n]...)
	out[from+len(formDate)] = 'T'
	if t.kind == kindTimestampTZ {
		out = append(out, 'Z')
	}
	text := rawjson.Alias(out[from:])
	if !t.plain(text) {
		return "", false // nobody has seen what stands there
	}
	s.texts = out
	return text, true
}
