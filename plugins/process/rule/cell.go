package rule

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	"weir/internal/platform/predicate"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sketch"
)

// pane holds the aggregates of some events: of a stretch of time, or of a session. Adding and merging are commutative:
// no result depends on the order of events.
type pane struct {
	start       int64
	n           int64
	first, last int64 // the least and the greatest offset
	cells       []cell
}

// cell holds the aggregates of one column.
type cell struct {
	n            int64 // values that are not null
	sum, squares sketch.Exact
	min, max     float64
	more         *more // of the aggregates that need it
}

type more struct {
	first, last stamped
	sketch      sketch.Sketch
	distinct    distinct
	top         map[string]int64
	full        bool // there were more than maxTop values, and top is nil
}

// stamped is a value with its event's time and id, by which first and last are ordered.
type stamped struct {
	at   int64
	id   [16]byte
	json string // "": no value
}

// maxTop bounds the different values that top counts in a pane.
const maxTop = 1000

// arg is a column's value in an event.
type arg struct {
	v    predicate.Value
	json []byte // as JSON, if the column needs that
}

func (p *pane) add(cols []*column, e *record, args []arg) {
	if p.n == 0 || e.Offset < p.first {
		p.first = e.Offset
	}
	if p.n == 0 || e.Offset > p.last {
		p.last = e.Offset
	}
	p.n++
	if p.cells == nil {
		p.cells = make([]cell, len(cols))
	}
	for i := range args {
		if a := &args[i]; a.v.Kind > predicate.Null {
			p.cells[i].add(cols[i].needs, e, a)
		}
	}
}

func (c *cell) add(needs need, e *record, a *arg) {
	c.n++
	if needs&needNumbers != 0 {
		v := a.v.Num
		if c.n == 1 {
			c.min, c.max = v, v
		}
		c.min, c.max = math.Min(c.min, v), math.Max(c.max, v)
	}
	if needs&needSum != 0 {
		c.sum.Add(a.v.Num)
	}
	if needs&needSquares != 0 {
		c.squares.AddSquare(a.v.Num)
	}
	if needs&(needText|needSketch) == 0 {
		return
	}
	if c.more == nil {
		c.more = &more{}
	}
	m := c.more
	if needs&needSketch != 0 {
		m.sketch.Add(a.v.Num)
	}
	if needs&needFirst != 0 && (m.first.json == "" || before(e.At, e.ID, m.first)) {
		m.first = stamped{e.At, e.ID, string(a.json)}
	}
	if needs&needLast != 0 && (m.last.json == "" || !before(e.At, e.ID, m.last)) {
		m.last = stamped{e.At, e.ID, string(a.json)}
	}
	if needs&needDistinct != 0 {
		m.distinct.add(a.json)
	}
	if needs&needTop != 0 {
		m.count(a.json, 1)
	}
}

func before(at int64, id [16]byte, s stamped) bool {
	return at < s.at || at == s.at && bytes.Compare(id[:], s.id[:]) < 0
}

// count counts a value for top. Which values fit would depend on the order of events once there are more than maxTop:
// then none are kept, and the result is null.
func (m *more) count(json []byte, n int64) {
	if m.full {
		return
	}
	if _, there := m.top[string(json)]; !there && len(m.top) == maxTop {
		m.full, m.top = true, nil
		return
	}
	if m.top == nil {
		m.top = map[string]int64{}
	}
	m.top[string(json)] += n
}

// merge adds another pane, which it does not change.
func (p *pane) merge(o *pane) {
	if o.n == 0 {
		return
	}
	if p.n == 0 {
		p.first, p.last = o.first, o.last
	}
	p.n += o.n
	p.first, p.last = min(p.first, o.first), max(p.last, o.last)
	if p.cells == nil {
		p.cells = make([]cell, len(o.cells))
	}
	for i := range o.cells {
		p.cells[i].merge(&o.cells[i])
	}
}

func (c *cell) merge(o *cell) {
	if o.n == 0 {
		return
	}
	if c.n == 0 {
		c.min, c.max = o.min, o.max
	}
	c.n += o.n
	c.min, c.max = math.Min(c.min, o.min), math.Max(c.max, o.max)
	c.sum.Merge(o.sum)
	c.squares.Merge(o.squares)
	if o.more == nil {
		return
	}
	if c.more == nil {
		c.more = &more{}
	}
	m, from := c.more, o.more
	if m.first.json == "" || from.first.json != "" && before(from.first.at, from.first.id, m.first) {
		m.first = from.first
	}
	if m.last.json == "" || from.last.json != "" && !before(from.last.at, from.last.id, m.last) {
		m.last = from.last
	}
	m.sketch.Merge(from.sketch)
	m.distinct.merge(&from.distinct)
	if m.full = m.full || from.full; m.full {
		m.top = nil
		return
	}
	for json, n := range from.top {
		m.count([]byte(json), n)
	}
}

// appendValue appends an aggregate as JSON.
func (v *value) appendValue(b []byte, p *pane) []byte {
	if v.col < 0 {
		return strconv.AppendInt(b, p.n, 10)
	}
	c := &p.cells[v.col]
	if v.kind == "count" {
		return strconv.AppendInt(b, c.n, 10)
	}
	if c.n == 0 {
		switch v.kind {
		case "distinct":
			return append(b, '0')
		case "sketch":
			return append(b, `""`...)
		case "top":
			return append(b, "[]"...)
		}
		return append(b, "null"...)
	}
	bounded := func(f float64) float64 { return math.Min(math.Max(f, c.min), c.max) }
	switch v.kind {
	case "sum":
		return appendNumber(b, c.sum.Hi)
	case "min":
		return appendNumber(b, c.min)
	case "max":
		return appendNumber(b, c.max)
	case "avg":
		return appendNumber(b, bounded(c.sum.Hi/float64(c.n)))
	case "stddev":
		if c.n < 2 {
			return append(b, "null"...)
		}
		return appendNumber(b, math.Sqrt(sketch.Deviations(c.n, c.sum, c.squares)/float64(c.n-1)))
	case "quantile":
		return appendNumber(b, bounded(c.more.sketch.QuantileOf(v.q, uint64(c.n))))
	case "first":
		return append(b, c.more.first.json...)
	case "last":
		return append(b, c.more.last.json...)
	case "distinct":
		return strconv.AppendInt(b, c.more.distinct.count(), 10)
	case "sketch":
		return append(c.more.distinct.appendText(append(b, '"')), '"')
	}
	return c.more.appendTop(b, v.n)
}

func (m *more) appendTop(b []byte, n int) []byte {
	if m.full {
		return append(b, "null"...)
	}
	type entry struct {
		json string
		n    int64
	}
	all := make([]entry, 0, len(m.top))
	for json, n := range m.top {
		all = append(all, entry{json, n})
	}
	slices.SortFunc(all, func(a, b entry) int {
		if a.n != b.n {
			return int(b.n - a.n)
		}
		return strings.Compare(a.json, b.json)
	})
	b = append(b, '[')
	for i, e := range all[:min(n, len(all))] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"value":`...), e.json...)
		b = append(strconv.AppendInt(append(b, `,"count":`...), e.n, 10), '}')
	}
	return append(b, ']')
}

// appendNumber appends a finite number as JSON.
func appendNumber(b []byte, f float64) []byte {
	if f == 0 {
		return append(b, '0') // also for -0
	}
	if a := math.Abs(f); a < 1e-6 || a >= 1e21 {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

// appendScalar appends a value of an event as JSON.
func appendScalar(b []byte, v predicate.Value) []byte {
	switch v.Kind {
	case predicate.Int:
		return strconv.AppendInt(b, v.Int, 10)
	case predicate.Float:
		return appendNumber(b, v.Num)
	case predicate.Bool:
		return strconv.AppendBool(b, v.True())
	case predicate.String:
		return rawjson.AppendString(b, v.Text)
	case predicate.Other:
		return append(b, v.Text...)
	}
	return append(b, "null"...)
}
