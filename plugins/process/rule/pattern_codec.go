package rule

import (
	"encoding/binary"
	"slices"

	"weir/internal/platform/rawjson"
)

// sequenceVersion is the first byte of the state of a key of a pattern or join. Change it with the format, and with
// the numbering of a program's places: the state refers to them by number.
const sequenceVersion = 0x81

// append encodes the state of a key.
func (s *sequence) append(b []byte) []byte {
	for _, rows := range [...][]row{s.rows, s.early} {
		b = binary.AppendUvarint(b, uint64(len(rows)))
		for i := range rows {
			b = rows[i].append(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.attempts)))
	for i := range s.attempts {
		a := &s.attempts[i]
		b = binary.AppendUvarint(b, uint64(a.first))
		b = append(a.best.append(b), bit(a.silent))
		b = binary.AppendUvarint(b, uint64(len(a.threads)))
		for _, t := range a.threads {
			b = t.path.append(binary.AppendUvarint(b, uint64(t.at)))
		}
	}
	return b
}

func (r *row) append(b []byte) []byte {
	b = append(binary.AppendVarint(b, r.at), r.id[:]...)
	b = binary.AppendUvarint(binary.AppendVarint(b, r.offset), r.holds)
	for _, v := range r.values {
		b = appendText(b, v)
	}
	return b
}

func (p path) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p)))
	for _, s := range p {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(s.v+1)), uint64(s.n))
	}
	return b
}

// sequence decodes what append wrote. The terms of a thread are not stored: they are computed from its path.
func (d *decoder) sequence(of *Rule) sequence {
	s := sequence{rows: d.rows(len(of.cols)), early: d.rows(len(of.cols))}
	s.attempts = make([]attempt, d.length(4))
	if of.join != nil { // a join has only rows, each with a side
		d.bad = d.bad || len(s.early)+len(s.attempts) > 0 ||
			slices.ContainsFunc(s.rows, func(r row) bool { return r.holds&sides == 0 })
		return s
	}
	for i := range s.attempts {
		a := &s.attempts[i]
		a.first = int(d.uvarint())
		if a.first < 0 || a.first >= len(s.rows) || i > 0 && a.first <= s.attempts[i-1].first {
			d.bad = true
			return s
		}
		rows := s.rows[a.first:]
		a.best = d.path(of.pattern, rows)
		a.silent = d.byte() == 1
		a.threads = make([]thread, d.length(2))
		for j := range a.threads {
			t := &a.threads[j]
			if t.at = int(d.uvarint()); t.at < 0 || t.at >= len(of.pattern.prog.places) {
				d.bad = true
				return s
			}
			t.path = d.path(of.pattern, rows)
			if t.terms = make([]termState, len(of.pattern.terms)); !d.bad {
				of.pattern.retrace(t, rows)
			}
		}
		d.bad = d.bad || len(a.threads) == 0 && a.best == nil
	}
	return s
}

// retrace computes the terms of a thread from its path. rows begin with the first row of the attempt.
func (s *patternSpec) retrace(t *thread, rows []row) {
	at := 0
	for _, part := range t.path {
		for range part.n {
			for i := range s.terms {
				if part.v >= 0 && s.terms[i].v == part.v {
					s.terms[i].add(&t.terms[i], rows[at].values)
				}
			}
			at++
		}
	}
}

func (d *decoder) rows(columns int) []row {
	rows := make([]row, d.length(19+columns))
	for i := range rows {
		r := &rows[i]
		r.at = d.varint()
		copy(r.id[:], d.take(16))
		r.offset, r.holds = d.varint(), d.uvarint()
		r.values = make([]string, columns)
		for j := range r.values {
			r.values[j] = d.scalar()
		}
		if d.bad {
			return nil
		}
	}
	return rows
}

// scalar reads a value as JSON; "" is a value that was missing.
func (d *decoder) scalar() string {
	s := d.text()
	if s != "" {
		if end, err := rawjson.Value(rawjson.Bytes(s), 0, 1); err != nil || end != len(s) {
			d.bad = true
			return ""
		}
	}
	return s
}

// path reads a path; one that is longer than rows is damaged.
func (d *decoder) path(s *patternSpec, rows []row) path {
	n := d.length(2)
	if n == 0 {
		return nil
	}
	p, left := make(path, n), uint64(len(rows))
	for i := range p {
		v, n := d.uvarint(), d.uvarint()
		if v > uint64(len(s.names)) || n == 0 || n > left {
			d.bad = true
			return nil
		}
		p[i], left = span{int(v) - 1, int(n)}, left-n
	}
	return p
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}
