package rule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/internal/platform/predicate"
	"weir/internal/platform/rawjson"
)

// joins is the kind of rules with a join. It finds pairs of events of a key, one of each side, whose times are no
// further apart than the rule says, and events without a partner. A pair is emitted once, as soon as both events are
// there; an event without a partner only when none can come any more. So no result is ever revised or retracted.
type joins struct{}

// The sides, as bits of row.holds. An event may be of both sides, but is no partner of itself. The bit of a side is
// cleared when no partner can come any more.
const (
	sideLeft = 1 << iota
	sideRight
	pairedLeft // as a left event it has had a partner
	pairedRight

	sides = sideLeft | sideRight
)

// maxJoined bounds the events of a key that wait for partners.
const maxJoined = 1000

// joinText is a join as a rule set has it.
type joinText struct {
	Left     sideText   `yaml:"left"`
	Right    sideText   `yaml:"right"`
	Within   withinText `yaml:"within"`
	Type     string     `yaml:"type,omitempty"`
	Lateness string     `yaml:"allowed_lateness"`
}

type withinText struct {
	Before string `yaml:"before,omitempty"`
	After  string `yaml:"after,omitempty"`
}

// joinSpec is which events are paired.
type joinSpec struct {
	left, right   *predicate.Expr // which events are of a side
	topics        [2]string       // of left and right, if two topics are joined
	before, after int64           // how much earlier, and later, than the left event the right one may be, in µs
	lateness      int64
	alone         uint64 // the sides whose events are emitted without a partner, too
}

// sideNames are the names of the sides in select.
func sideNames() []string { return []string{"left", "right"} }

func (c *checker) join(r *Rule, text *joinText, l *predicate.Layout) {
	s := &joinSpec{}
	r.join = s
	side := func(field string, of sideText) *predicate.Expr {
		switch {
		case of.Where == "" && of.Topic == "":
			c.at(field, "is missing: say which events it is, as in this.exists(\"diagnostics.command\"); true is any")
			return nil
		case of.Where == "":
			of.Where = "true"
		case of.Topic != "":
			field += ".where"
		}
		return c.expr(field, of.Where, l)
	}
	s.left, s.right = side("join.left", text.Left), side("join.right", text.Right)
	c.sidesOf(r, text)
	if text.Within.Before == "" && text.Within.After == "" {
		c.at("join.within", "is missing: say how far apart the two events may be, as in {after: 15m} or {before: 1m, "+
			"after: 15m}")
	}
	if text.Within.Before != "" {
		s.before = c.duration("join.within.before", text.Within.Before, 0)
	}
	if text.Within.After != "" {
		s.after = c.duration("join.within.after", text.Within.After, 0)
	}
	switch text.Type {
	case "", "inner":
	case "left":
		s.alone = sideLeft
	case "outer":
		s.alone = sides
	default:
		c.at("join.type", "%q is not one of inner, left, outer", text.Type)
	}
	if text.Lateness == "" {
		c.at("join.allowed_lateness", "is missing: say how far behind the partition's time an event may be and still "+
			"find its partner; 0s is not at all")
		return
	}
	s.lateness = c.duration("join.allowed_lateness", text.Lateness, 0)
}

// ofSides returns the sides of the event at hand, as bits.
func (p *partition) ofSides(s *joinSpec) (holds uint64, err error) {
	for side, e := range []*predicate.Expr{s.left, s.right} {
		if of := s.topics[side]; of != "" && of != p.from {
			continue
		}
		yes, err := e.True(p.reader)
		if err != nil {
			return 0, fmt.Errorf("join.%s: %w", sideNames()[side], err)
		}
		if yes {
			holds |= 1 << side
		}
	}
	return holds, nil
}

// deadline returns the latest time of an event that can be a partner of r as an event of a side.
func (s *joinSpec) deadline(r *row, side uint64) int64 {
	if side == sideLeft {
		return r.at + s.after
	}
	return r.at + s.before
}

// pair tells whether two rows are a pair of a left and a right event.
func (s *joinSpec) pair(left, right *row) bool {
	return left.holds&sideLeft != 0 && right.holds&sideRight != 0 &&
		left.at-s.before <= right.at && right.at <= left.at+s.after
}

func (joins) add(p *partition, op *operator, k *keyState, e *record, args []arg) (int64, bool) {
	s := op.join
	if by := p.own() - s.lateness - e.At; by > 0 {
		return by, false
	}
	r := p.row(e, args)
	for i := range k.seq.rows {
		o := &k.seq.rows[i]
		if s.pair(&r, o) {
			r.holds, o.holds = r.holds|pairedLeft, o.holds|pairedRight
			p.joined(op, k, &r, o)
		}
		if s.pair(o, &r) {
			o.holds, r.holds = o.holds|pairedLeft, r.holds|pairedRight
			p.joined(op, k, o, &r)
		}
	}
	i, _ := slices.BinarySearchFunc(k.seq.rows, r, compareRows)
	k.seq.rows = slices.Insert(k.seq.rows, i, r)
	return 0, true
}

func (joins) ring(p *partition, op *operator, k *keyState) {
	for i := range k.seq.rows {
		r := &k.seq.rows[i]
		if op.join.over(p, r, sideLeft) {
			if r.holds &^= sideLeft; r.holds&pairedLeft == 0 && op.join.alone&sideLeft != 0 {
				p.joined(op, k, r, nil)
			}
		}
		if op.join.over(p, r, sideRight) {
			if r.holds &^= sideRight; r.holds&pairedRight == 0 && op.join.alone&sideRight != 0 {
				p.joined(op, k, nil, r)
			}
		}
	}
	k.seq.rows = slices.DeleteFunc(k.seq.rows, func(r row) bool { return r.holds&sides == 0 })
}

// over tells whether a row waits as an event of a side, and no partner can come any more that would not be late.
func (s *joinSpec) over(p *partition, r *row, side uint64) bool {
	return r.holds&side != 0 && s.deadline(r, side)+s.lateness < p.time
}

func (joins) due(_ *partition, op *operator, k *keyState) int64 {
	due := int64(never)
	for i := range k.seq.rows {
		r := &k.seq.rows[i]
		for _, side := range []uint64{sideLeft, sideRight} {
			if r.holds&side != 0 {
				due = min(due, op.join.deadline(r, side)+op.join.lateness+1)
			}
		}
	}
	return due
}

// joined emits a pair or, if left or right is nil, an event without a partner.
func (p *partition) joined(op *operator, k *keyState, left, right *row) {
	w, of := window{status: statusFinal, from: op.join.topics}, pane{n: 1}
	switch {
	case right == nil:
		w.id, w.start, w.end = left.offset, left.at, left.at+op.join.after
		of.first, of.last, w.from[1] = left.offset, left.offset, w.from[0]
	case left == nil:
		w.id, w.with, w.start, w.end = right.offset, aloneRight, right.at, right.at+op.join.before
		of.first, of.last, w.from[0] = right.offset, right.offset, w.from[1]
	default:
		w.id, w.with = left.offset, right.offset+1
		w.start, w.end = min(left.at, right.at), max(left.at, right.at)
		if of = (pane{n: 2, first: left.offset, last: right.offset}); w.from[0] == "" && of.first > of.last {
			of.first, of.last = of.last, of.first
		}
	}
	values := []byte{'{'}
	for i := range op.values {
		v := &op.values[i]
		from := left
		if v.of == 1 {
			from = right
		}
		if i > 0 {
			values = append(values, ',')
		}
		values = append(rawjson.AppendString(values, v.name), ':')
		if from == nil || from.values[v.col] == "" {
			values = append(values, "null"...)
		} else {
			values = append(values, from.values[v.col]...)
		}
	}
	p.tellValues(op, k, w, &of, append(values, '}'))
}

// aloneRight is window.with of a right event without a partner, so that its id differs from that of a left one.
const aloneRight = -1

// joinedValues reads the select of a join: each value is of one side.
func (c *checker) joinedValues(r *Rule, node *yaml.Node, l *predicate.Layout) {
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
		c.at("select", "is missing or empty: name the values of a result, as in {asked: left.timestamp, answered: "+
			"right.timestamp}")
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, source := node.Content[i].Value, node.Content[i+1].Value
		field := "select." + name
		if !plainPath.MatchString(name) || strings.Contains(name, ".") {
			c.at(field, "%q is not a valid name: write letters, digits and '_', and no digit first", name)
		}
		side, of, err := argument(sideNames(), source)
		switch {
		case err != nil:
			c.at(field, "%s", err)
			continue
		case side < 0 || of == "":
			c.at(field, "%q is not a value of one side: write one such as left.timestamp or right.metrics.cpu_temp", source)
			continue
		}
		col := r.column(of, 0, 1<<side, func() *predicate.Expr { return c.expr(field, of, l) })
		r.values = append(r.values, value{name: name, col: col, of: side})
	}
}

// describe says in words which events are paired, and when results come.
func (s *joinSpec) describe(delay time.Duration) string {
	span := func(micros int64) time.Duration { return time.Duration(micros) * time.Microsecond }
	text := fmt.Sprintf("pairs of which the right event is from %s before the left one to %s after it, emitted when "+
		"both are there", span(s.before), span(s.after))
	if s.topics[0] != "" {
		text += fmt.Sprintf("; left ones are of the topic %s, right ones of %s, in partitions of the same number",
			s.topics[0], s.topics[1])
	}
	if s.alone&sideLeft != 0 {
		text += fmt.Sprintf("; a left one without a right one is emitted %s after it", span(s.after+s.lateness)+delay)
	}
	if s.alone&sideRight != 0 {
		text += fmt.Sprintf("; a right one without a left one is emitted %s after it", span(s.before+s.lateness)+delay)
	}
	return text + fmt.Sprintf("; an event is late if it is more than %s older than the partition's time",
		span(s.lateness))
}
