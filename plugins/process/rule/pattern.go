package rule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/internal/platform/predicate"
)

// patternYAML is a pattern as it is written in a rule set.
type patternYAML struct {
	Match  string    `yaml:"match"`
	Within string    `yaml:"within"`
	Skip   string    `yaml:"skip,omitempty"`
	Order  string    `yaml:"order,omitempty"`
	Define yaml.Node `yaml:"define"`
}

// patternSpec is a checked and compiled pattern: the sequence of events of one key that a rule looks for. It does
// not change after Parse.
type patternSpec struct {
	source  string
	prog    *program
	names   []string // of the variables
	within  int64    // the longest time from the first event of a match to its last, in µs
	arrival bool     // events are matched in the order of the log, not of their time
	skip    skip

	plain []*predicate.Expr // by variable: a condition on the event alone; nil: looks has the condition
	looks []*predicate.Expr // by variable: a condition that looks back at what was matched before; nil: plain has it
	// layout lists the values that looks need, and fills says where each of them comes from.
	layout predicate.Layout
	fills  []fill
	terms  []term
	prev   bool   // a condition uses prev()
	starts uint64 // the variables that a match may begin with, a bit each
}

// skip says at which event the search continues after a match.
type skip struct {
	to   skipTo
	v    int
	text string
}

type skipTo uint8

const (
	skipPastLast skipTo = iota // at the event after its last
	skipNext                   // at the event after its first
	skipFirst                  // at its first event of a variable
	skipLast                   // at its last event of a variable
)

// fill is the source of a value of a condition that looks back: a column of the current event or of the previous
// one, or a term over the events that were matched.
type fill struct {
	col, term int // term: -1 when it is a column
	prev      bool
}

// term is an aggregate over the events that were matched as a variable so far.
type term struct {
	kind   string
	v, col int // col: -1 for count(A)
}

func (c *checker) pattern(r *Rule, text *patternYAML, l *predicate.Layout) {
	s := &patternSpec{source: strings.Join(strings.Fields(text.Match), " "),
		within: c.duration("pattern.within", text.Within, time.Millisecond)}
	whole, names, err := readPattern(text.Match)
	if err != nil {
		c.atText("pattern.match", text.Match, err)
	}
	s.names = names
	r.pattern = s
	c.twice("pattern.define", &text.Define)
	switch text.Order {
	case "", "time":
	case "arrival":
		s.arrival = true
	default:
		c.at("pattern.order", "%q is not one of time, arrival", text.Order)
	}
	if err == nil {
		c.skips(s, text.Skip)
		s.prog = compileShape(whole, c.defines(r, &text.Define, l))
		for _, at := range s.prog.start {
			s.starts |= 1 << s.prog.places[at].v
		}
	}
}

// atText adds a problem at a field. In a multi-line text the line is the one at which a *patternError lies.
func (c *checker) atText(field, text string, err error) {
	n := c.node
	for _, name := range strings.Split(field, ".") {
		n = child(n, name)
	}
	line := n.Line
	var wrong *patternError
	if errors.As(err, &wrong) && n.Kind == yaml.ScalarNode && n.Style&yaml.LiteralStyle != 0 {
		line += 1 + strings.Count(text[:min(wrong.at, len(text))], "\n")
	}
	c.add(line, c.rule, "%s: %s", field, err)
}

func (c *checker) skips(s *patternSpec, text string) {
	name, of := text, ""
	if i := strings.IndexByte(text, '('); i > 0 && strings.HasSuffix(text, ")") {
		name, of = text[:i], strings.TrimSpace(text[i+1:len(text)-1])
	}
	s.skip = skip{v: slices.Index(s.names, of), text: text}
	switch {
	case text == "" || text == "past_last":
		s.skip.text = "past_last"
	case text == "next":
		s.skip.to = skipNext
	case (name == "first" || name == "last") && s.skip.v < 0:
		c.at("pattern.skip", "%q is not a variable of the pattern: write one of those in match", of)
	case name == "first":
		s.skip.to = skipFirst
	case name == "last":
		s.skip.to = skipLast
	default:
		c.at("pattern.skip", "%q is not one of past_last, next, first(X), last(X)", text)
	}
}

// defines compiles the conditions of the variables. It returns, a bit each, the variables whose conditions look
// back at what was matched before.
func (c *checker) defines(r *Rule, node *yaml.Node, l *predicate.Layout) (looks uint64) {
	s := r.pattern
	s.plain, s.looks = make([]*predicate.Expr, len(s.names)), make([]*predicate.Expr, len(s.names))
	defined := make([]bool, len(s.names))
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		name, source := node.Content[i].Value, node.Content[i+1].Value
		field := "pattern.define." + name
		v := slices.Index(s.names, name)
		if v < 0 {
			c.at(field, "match has no variable %s: add it there, or take the condition out", name)
			continue
		}
		defined[v] = true
		rewritten, err := s.rewrite(source, func(source string, needs need, vars uint64) int {
			return r.column(source, needs, vars, func() *predicate.Expr { return c.expr(field, source, l) })
		})
		switch {
		case err != nil:
			c.at(field, "%s", err)
		case rewritten == source:
			s.plain[v] = c.expr(field, source, l)
		default:
			looks |= 1 << v
			s.looks[v] = c.looking(field, rewritten, &s.layout)
		}
	}
	for v, name := range s.names {
		switch {
		case !defined[v]:
			c.at("pattern.define", "%s is missing: say which events it is, as in {%s: this.metrics.cpu_temp > 80}; true is "+
				"any",
				name, name)
		case reserved[name]:
			c.at("pattern.define."+name, "%s has another meaning in conditions: choose another name", name)
		}
	}
	for _, path := range s.layout.Paths() {
		s.fills = append(s.fills, c.fillOf(r, path, l))
	}
	return looks
}

// looking compiles a condition that looks back. One that only Bloblang can evaluate is refused: it needs the whole
// event, and of earlier events only columns are kept.
func (c *checker) looking(field, source string, l *predicate.Layout) *predicate.Expr {
	e := c.expr(field, source, l)
	if e != nil {
		if fast, why := e.Fast(); !fast {
			c.at(field, "a condition that looks back must be compiled, but %s: write it otherwise", why)
		}
	}
	return e
}

// fillOf returns the source of the value at a path: a term, or else a field of the current event.
func (c *checker) fillOf(r *Rule, path []string, l *predicate.Layout) fill {
	s := r.pattern
	var at int
	if n, _ := fmt.Sscanf(path[0], termName+"%d", &at); n == 1 && len(path) == 1 && at < len(s.terms) {
		if t := s.terms[at]; t.kind == "prev" {
			return fill{col: t.col, term: -1, prev: true}
		}
		return fill{term: at}
	}
	source := "this"
	for _, name := range path {
		source += "." + fmt.Sprintf("%q", name)
	}
	return fill{term: -1, col: r.column(source, 0, 0, func() *predicate.Expr {
		return c.expr("pattern.define", source, l)
	})}
}

// reserved are the words that have another meaning in a condition, and cannot name a variable.
var reserved = map[string]bool{"this": true, "if": true, "else": true, "true": true, "false": true, "null": true,
	"root": true, "match": true, "let": true, "prev": true, "first": true, "last": true, "count": true, "sum": true,
	"avg": true, "min": true, "max": true}
