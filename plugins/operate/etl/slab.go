package etl

import (
	"strconv"
	"time"

	"weir/internal/platform/rawjson"
)

// slab allocates rows and texts, many at once. The memory stays in use while any of them does, so
// code that keeps single rows for long must clone their cells. A slab is not for concurrent use.
type slab struct {
	cells []cell
	texts []byte
}

const (
	slabCells = 1024
	slabBytes = 32 << 10
)

// row returns a row of n empty texts.
func (s *slab) row(n int) row {
	if len(s.cells) < n {
		s.cells = make([]cell, max(n, slabCells))
	}
	r := s.cells[:n:n]
	s.cells = s.cells[n:]
	return r
}

// room makes sure that n bytes of one text fit.
func (s *slab) room(n int) {
	if cap(s.texts)-len(s.texts) < n {
		s.texts = make([]byte, 0, max(n, slabBytes))
	}
}

// text returns a copy of v.
func (s *slab) text(v []byte) string {
	s.room(len(v))
	from := len(s.texts)
	s.texts = append(s.texts, v...)
	return rawjson.Alias(s.texts[from:])
}

// number returns a number as text.
func (s *slab) number(v int64) string {
	s.room(20)
	from := len(s.texts)
	s.texts = strconv.AppendInt(s.texts, v, 10)
	return rawjson.Alias(s.texts[from:])
}

// instant returns the canonical text of a time, cut to microseconds.
func (s *slab) instant(at time.Time) string {
	s.room(len(formTimestamp) + 1)
	from := len(s.texts)
	s.texts = append(at.UTC().AppendFormat(s.texts, formTimestamp), 'Z')
	return rawjson.Alias(s.texts[from:])
}

// postgresTime returns the canonical text of a time that the server wrote in UTC; false: the caller
// has to parse it.
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
		return "", false // the room is reused: nothing refers to it
	}
	s.texts = out
	return text, true
}
