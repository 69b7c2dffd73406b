package rule

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"weir/internal/platform/sketch"
)

// stateVersion is the version of the format of the state of windows, its first byte.
const stateVersion = 1

var errDamaged = errors.New("it is damaged, or a newer version of weir wrote it")

// append appends the state of a key, as decodeKey reads it.
func (k *keyState) append(b []byte) []byte {
	if k.seq != nil {
		return k.seq.append(append(b, sequenceVersion))
	}
	b = append(b, stateVersion, bit(k.fresh))
	b = binary.AppendUvarint(b, uint64(len(k.panes)))
	for i := range k.panes {
		b = k.panes[i].append(b)
	}
	b = binary.AppendUvarint(b, uint64(len(k.told)))
	for _, t := range k.told {
		b = binary.AppendVarint(b, t.window)
		b = binary.AppendVarint(b, t.end)
		b = binary.AppendVarint(b, t.revision)
		b = append(b, bit(t.final)|bit(t.retracted)<<1)
	}
	b = binary.AppendUvarint(b, uint64(len(k.more)))
	for _, v := range k.more {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (p *pane) append(b []byte) []byte {
	for _, v := range [...]int64{p.start, p.n, p.first, p.last} {
		b = binary.AppendVarint(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(p.cells)))
	for i := range p.cells {
		b = p.cells[i].append(b)
	}
	return b
}

func (c *cell) append(b []byte) []byte {
	b = binary.AppendVarint(b, c.n)
	if c.n == 0 {
		return b
	}
	for _, f := range [...]float64{c.sum.Hi, c.sum.Lo, c.squares.Hi, c.squares.Lo, c.min, c.max} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	if c.more == nil {
		return append(b, 0)
	}
	m := c.more
	b = append(b, 1|bit(m.full)<<1|bit(m.distinct.regs != nil)<<2)
	for _, s := range [...]stamped{m.first, m.last} {
		b = appendText(b, s.json)
		if s.json != "" {
			b = append(binary.AppendVarint(b, s.at), s.id[:]...)
		}
	}
	b = m.sketch.Append(b)
	if m.distinct.regs != nil {
		b = append(b, m.distinct.regs...)
	} else {
		b = binary.AppendUvarint(b, uint64(len(m.distinct.few)))
		for _, h := range m.distinct.few {
			b = binary.LittleEndian.AppendUint64(b, h)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(m.top)))
	for _, json := range sortedKeys(m.top) {
		b = binary.AppendVarint(appendText(b, json), m.top[json])
	}
	return b
}

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeKey reads the state of a key of a rule. The error is errDamaged if it cannot.
func decodeKey(name string, b []byte, of *Rule) (*keyState, error) {
	d := &decoder{b: b}
	k := newKey(name, of)
	columns, version := len(of.cols), d.byte()
	if version == sequenceVersion && of.keepsRows() {
		if *k.seq = d.sequence(of); d.bad || len(d.b) > 0 {
			return nil, fmt.Errorf("reading the state of a key: %w", errDamaged)
		}
		return k, nil
	}
	if version != stateVersion || of.keepsRows() {
		return nil, fmt.Errorf("reading the state of a key: %w", errDamaged)
	}
	k.fresh = d.byte() == 1
	n, cells := d.length(5), k.room()
	if n > cap(k.panes) {
		k.panes, cells = make([]pane, 0, n), nil
	}
	for range n {
		k.panes = append(k.panes, d.pane(columns, cells))
	}
	k.told = make([]told, d.length(3))
	for i := range k.told {
		k.told[i] = told{window: d.varint(), end: d.varint(), revision: d.varint()}
		flags := d.byte()
		k.told[i].final, k.told[i].retracted = flags&1 != 0, flags&2 != 0
	}
	n = d.length(1)
	k.more = slices.Grow(k.more, n)
	for range n {
		k.more = append(k.more, d.varint())
	}
	if d.bad || len(d.b) > 0 {
		return nil, fmt.Errorf("reading the state of a key: %w", errDamaged)
	}
	return k, nil
}

// decoder reads the front of b. Where that is damaged or too short it sets bad, drops the rest, and returns zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, max(n, 0)&0xffff)
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// length reads the number of items that follow, each of which takes at least so many bytes: it is bad if b is too short
// for them, so that no damaged length makes anyone allocate more than b allows.
func (d *decoder) length(each int) int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > uint64(len(d.b)/each) {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) float() float64 { return math.Float64frombits(binary.LittleEndian.Uint64(d.take(8))) }

func (d *decoder) text() string { return string(d.take(d.length(1))) }

// pane reads a pane into cells, or, if they are nil, into new ones.
func (d *decoder) pane(columns int, cells []cell) pane {
	p := pane{start: d.varint(), n: d.varint(), first: d.varint(), last: d.varint()}
	if n := d.length(1); n > 0 || columns == 0 {
		if n != columns {
			d.bad = true
			return p
		}
		if p.cells = cells; cells == nil {
			p.cells = make([]cell, n)
		}
	}
	for i := range p.cells {
		d.cell(&p.cells[i])
	}
	return p
}

func (d *decoder) cell(c *cell) {
	if c.n = d.varint(); c.n == 0 {
		return
	}
	for _, f := range [...]*float64{&c.sum.Hi, &c.sum.Lo, &c.squares.Hi, &c.squares.Lo, &c.min, &c.max} {
		*f = d.float()
	}
	flags := d.byte()
	if flags == 0 {
		return
	}
	m := &more{full: flags&2 != 0}
	c.more = m
	for _, s := range [...]*stamped{&m.first, &m.last} {
		if s.json = d.text(); s.json != "" {
			s.at = d.varint()
			copy(s.id[:], d.take(16))
		}
	}
	var ok bool
	if m.sketch, d.b, ok = sketch.Decode(d.b); !ok {
		d.bad = true
		return
	}
	if flags&4 != 0 {
		m.distinct.regs = slices.Clone(d.take(registers))
	} else {
		m.distinct.few = make([]uint64, d.length(8))
		for i := range m.distinct.few {
			m.distinct.few[i] = binary.LittleEndian.Uint64(d.take(8))
		}
	}
	if n := d.length(2); n > 0 {
		m.top = make(map[string]int64, n)
		for range n {
			json := d.text()
			m.top[json] = d.varint()
		}
	}
}
