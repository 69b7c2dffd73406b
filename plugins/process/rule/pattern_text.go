package rule

import (
	"fmt"
	"slices"
	"strings"
)

// shape is a node of the syntax tree of a pattern.
type shape struct {
	op    shapeOp
	v     int      // of shapeRow: the variable
	not   uint64   // of shapeGap: the variables that may not be in it, a bit each; 0: the gap is ->
	parts []*shape // of shapeAll and shapeAny: the parts; of shapeRepeat: one, which is repeated
	least int      // of shapeRepeat: how often at least
	most  int      // of shapeRepeat: how often at most; -1: no limit
	lazy  bool     // of shapeRepeat: as seldom as possible (reluctant)
	at    int      // the byte at which it begins in the text
}

type shapeOp uint8

const (
	shapeRow    shapeOp = iota // one row
	shapeGap                   // rows of no variable, as few as possible
	shapeAll                   // all parts, one after the other
	shapeAny                   // one of the parts, the first that matches
	shapeRepeat                // the part, repeated
)

const (
	maxVariables = 60
	maxRepeat    = 1000
	maxNested    = 50
)

// patternError says what is wrong in a pattern, and at which byte of its text.
type patternError struct {
	at   int
	text string
}

func (e *patternError) Error() string { return e.text }

// patternText is a recursive descent parser of a pattern:
//
//	pattern  = sequence { "|" sequence }
//	sequence = { "->" | "!" NAME | ( NAME | "(" pattern ")" ) [ quantifier ] }
//	quantifier = ( "*" | "+" | "?" | "{n}" | "{n,}" | "{,m}" | "{n,m}" ) [ "?" ]
type patternText struct {
	s     string
	i     int
	depth int
	names []string // the variables, in the order of their first use
}

// readPattern parses a pattern and checks what can be checked without the rest of the rule. It returns the syntax
// tree and the names of the variables, in the order of their first use.
func readPattern(source string) (*shape, []string, error) {
	p := &patternText{s: source}
	whole, err := p.alternatives()
	if err == nil && p.i < len(p.s) {
		err = p.wrong(p.i, "this bracket closes none that is open: take it out")
	}
	if err == nil {
		err = p.check(whole, true, true)
	}
	if err == nil && whole.nullable() {
		err = p.wrong(0, "the pattern can match without any event: make one of its variables mandatory")
	}
	if err == nil && whole.size() > maxStates {
		err = p.wrong(0, "the pattern has more than %d states: repeat less often", maxStates)
	}
	if err != nil {
		return nil, nil, err
	}
	return whole, p.names, nil
}

func (p *patternText) wrong(at int, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if rest := strings.TrimSpace(p.s[min(at, len(p.s)):]); rest != "" {
		line, _, _ := strings.Cut(rest, "\n")
		text = fmt.Sprintf("at %q: %s", line[:min(len(line), 40)], text)
	}
	return &patternError{at, text}
}

func (p *patternText) blanks() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *patternText) take(token string) bool {
	p.blanks()
	if strings.HasPrefix(p.s[p.i:], token) {
		p.i += len(token)
		return true
	}
	return false
}

func (p *patternText) alternatives() (*shape, error) {
	if p.depth++; p.depth > maxNested {
		return nil, p.wrong(p.i, "brackets are nested more than %d deep: take some out", maxNested)
	}
	defer func() { p.depth-- }()
	var parts []*shape
	from := p.i
	for {
		part, err := p.sequence()
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if !p.take("|") {
			break
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return &shape{op: shapeAny, parts: parts, at: from}, nil
}

func (p *patternText) sequence() (*shape, error) {
	p.blanks()
	all := &shape{op: shapeAll, at: p.i}
	for {
		p.blanks()
		if p.i == len(p.s) || p.s[p.i] == '|' || p.s[p.i] == ')' {
			break
		}
		part, err := p.element()
		if err != nil {
			return nil, err
		}
		if n := len(all.parts); part.op == shapeGap && n > 0 && all.parts[n-1].op == shapeGap {
			if part.not == 0 || all.parts[n-1].not == 0 {
				return nil, p.wrong(part.at, "-> and ! cannot follow each other, since each lets other events come between: "+
					"take one of the two out")
			}
			all.parts[n-1].not |= part.not
			continue
		}
		all.parts = append(all.parts, part)
	}
	if len(all.parts) == 0 {
		return nil, p.wrong(p.i, "a variable or an opening bracket is missing: add it")
	}
	return all, nil
}

func (p *patternText) element() (*shape, error) {
	from := p.i
	var e *shape
	switch {
	case p.take("->"):
		e = &shape{op: shapeGap, at: from}
	case p.take("!"):
		v, err := p.variable()
		if err != nil {
			return nil, err
		}
		e = &shape{op: shapeGap, not: 1 << v, at: from}
	case p.take("("):
		inner, err := p.alternatives()
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, p.wrong(from, "this bracket is not closed: add the closing one")
		}
		e = inner
	default:
		v, err := p.variable()
		if err != nil {
			return nil, err
		}
		e = &shape{op: shapeRow, v: v, at: from}
	}
	return p.repeated(e, from)
}

func (p *patternText) variable() (int, error) {
	p.blanks()
	from := p.i
	for p.i < len(p.s) && (wordByte(p.s[p.i]) || p.i > from && p.s[p.i] >= '0' && p.s[p.i] <= '9') {
		p.i++
	}
	name := p.s[from:p.i]
	switch {
	case name == "" && p.i < len(p.s) && strings.IndexByte("^$", p.s[p.i]) >= 0:
		return 0, p.wrong(from, "^ and $ are not supported, since a log has no first and no last event: take it out")
	case name == "":
		return 0, p.wrong(from, "a variable is expected here: write letters, digits and '_', and no digit first")
	}
	i := slices.Index(p.names, name)
	if i < 0 {
		if i = len(p.names); i == maxVariables {
			return 0, p.wrong(from, "the pattern has more than %d variables: use fewer", maxVariables)
		}
		p.names = append(p.names, name)
	}
	return i, nil
}

func wordByte(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

// repeated reads the quantifier after an element, if there is one.
func (p *patternText) repeated(e *shape, from int) (*shape, error) {
	p.blanks()
	at := p.i
	r := &shape{op: shapeRepeat, parts: []*shape{e}, most: -1, at: from}
	switch {
	case p.take("*"):
	case p.take("+"):
		r.least = 1
	case p.take("?"):
		r.most = 1
	case p.take("{"):
		if err := p.times(r, at); err != nil {
			return nil, err
		}
	default:
		return e, nil
	}
	r.lazy = strings.HasPrefix(p.s[p.i:], "?") && p.take("?")
	switch {
	case e.op == shapeGap:
		return nil, p.wrong(from, "-> and ! cannot be repeated, since each stands for any number of events: take the "+
			"quantifier out")
	case p.take("*") || p.take("+") || p.take("?") || p.take("{"):
		return nil, p.wrong(at, "there are two quantifiers: take one of the two out")
	}
	return r, nil
}

func (p *patternText) times(r *shape, at int) error {
	least, has := p.number()
	switch r.least = least; {
	case p.take(","):
		var bounded bool
		if r.most, bounded = p.number(); !bounded {
			r.most = -1
		}
		has = has || bounded
	default:
		r.most = least
	}
	switch {
	case !has || !p.take("}"):
		return p.wrong(at, "the quantifier is not valid: write one such as {3}, {3,}, {,5} or {3,5}")
	case r.most == 0 || r.most > 0 && r.most < r.least:
		return p.wrong(at, "the highest number, %d, is 0 or less than the lowest, %d: write a higher one", r.most, r.least)
	case max(r.least, r.most) > maxRepeat:
		return p.wrong(at, "nothing can be repeated more than %d times: write a lower number", maxRepeat)
	}
	return nil
}

func (p *patternText) number() (n int, there bool) {
	p.blanks()
	for ; p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9'; p.i++ {
		n, there = min(n*10+int(p.s[p.i]-'0'), maxRepeat+1), true
	}
	return n, there
}

// check refuses repetitions of what can match no row, and gaps in places where they have no meaning. first and last
// say whether the pattern begins, and ends, with the shape.
func (p *patternText) check(s *shape, first, last bool) error {
	switch s.op {
	case shapeAny:
		for _, part := range s.parts {
			if err := p.check(part, first, last); err != nil {
				return err
			}
		}
	case shapeRepeat:
		if s.parts[0].nullable() {
			return p.wrong(s.at, "what is repeated can match without any event: make one of its variables mandatory")
		}
		return p.check(s.parts[0], first, last && s.most == 1)
	case shapeAll:
		for i, part := range s.parts {
			if part.op == shapeGap {
				if err := p.checkGap(s, i, first, last); err != nil {
					return err
				}
				continue
			}
			if err := p.check(part, first, last && i == len(s.parts)-1); err != nil {
				return err
			}
			first = first && part.nullable()
		}
	}
	return nil
}

// checkGap checks the gap that is the ith part of a sequence.
func (p *patternText) checkGap(s *shape, i int, first, last bool) error {
	gap, rest := s.parts[i], &shape{op: shapeAll, parts: s.parts[i+1:]}
	switch {
	case first:
		return p.wrong(gap.at, "a pattern must begin with an event: write a variable before this")
	case i < len(s.parts)-1 && rest.nullable():
		return p.wrong(gap.at, "what follows this can match without any event: make one of its variables mandatory")
	case i < len(s.parts)-1:
	case gap.not == 0:
		return p.wrong(gap.at, "nothing follows ->: write a variable after it, or take it out")
	case !last:
		return p.wrong(gap.at, "! may end the pattern, but not brackets that are repeated or followed by more: write a "+
			"variable after it")
	}
	return nil
}

// nullable reports whether the shape can match without a row of a variable.
func (s *shape) nullable() bool {
	switch s.op {
	case shapeRow:
		return false
	case shapeAny:
		return slices.ContainsFunc(s.parts, (*shape).nullable)
	case shapeAll:
		return !slices.ContainsFunc(s.parts, func(part *shape) bool { return !part.nullable() })
	case shapeRepeat:
		return s.least == 0 || s.parts[0].nullable()
	}
	return true
}

// size returns how many places the shape compiles to; a number above maxStates is not exact.
func (s *shape) size() (n int) {
	switch s.op {
	case shapeRow, shapeGap:
		return 1
	case shapeRepeat:
		return min(s.parts[0].size()*max(s.least, s.most, 1), 2*maxStates)
	}
	for _, part := range s.parts {
		n = min(n+part.size(), 2*maxStates)
	}
	return n
}
