package rule

import "slices"

// program is a compiled pattern: places, each of which takes one row, and what
// may follow each, the preferred first. It is the position automaton of the
// pattern, in which the order of what follows is what a search that goes back
// would try first.
type program struct {
	places []patternPlace
	start  []int // where a match may begin
}

// patternPlace takes a row of a variable, or one of a gap.
type patternPlace struct {
	v     int    // the variable; gapRow: the row is of none
	not   uint64 // of a gap: variables that the row may not be
	wait  bool   // a gap at the end: a match when its time is over
	looks bool   // from here on, what was matched before matters to a condition
	next  []int  // matched: the pattern ends here
}

const (
	// maxStates bounds a program.
	maxStates = 500
	// gapRow is the variable of rows that have none.
	gapRow = -1
	// matched is where a pattern ends.
	matched = -1
)

// compileShape makes the program of a pattern. The conditions of the variables
// in looks depend on what was matched before.
func compileShape(whole *shape, looks uint64) *program {
	g := &program{}
	g.start = distinctPlaces(g.add(whole, []int{matched}))
	for changed := true; changed; { // looks goes from each place to those before it
		changed = false
		for i := range g.places {
			p := &g.places[i]
			if p.looks {
				continue
			}
			p.looks = p.v >= 0 && looks>>p.v&1 == 1 || p.not&looks != 0 ||
				slices.ContainsFunc(p.next, func(n int) bool { return n != matched && g.places[n].looks })
			changed = changed || p.looks
		}
	}
	return g
}

// add makes the places of a shape that is followed by some, and returns where
// it begins.
func (g *program) add(s *shape, follow []int) []int {
	switch s.op {
	case shapeRow:
		g.places = append(g.places, patternPlace{v: s.v, next: distinctPlaces(follow)})
		return []int{len(g.places) - 1}
	case shapeGap:
		at := len(g.places)
		g.places = append(g.places, patternPlace{v: gapRow, not: s.not})
		if slices.Equal(follow, []int{matched}) {
			g.places[at].wait, g.places[at].next = true, []int{at}
			return []int{at}
		}
		begin := append(slices.Clone(follow), at) // as few as possible
		g.places[at].next = distinctPlaces(begin)
		return begin
	case shapeAny:
		var begin []int
		for _, part := range s.parts {
			begin = append(begin, g.add(part, follow)...)
		}
		return begin
	case shapeAll:
		for _, part := range slices.Backward(s.parts) {
			follow = g.add(part, follow)
		}
		return follow
	}
	return g.repeat(s, follow)
}

func (g *program) repeat(s *shape, follow []int) []int {
	either := func(more, done []int) []int {
		if s.lazy {
			return append(slices.Clone(done), more...)
		}
		return append(slices.Clone(more), done...)
	}
	begin, least := follow, s.least
	if s.most < 0 {
		// The last repetition may be followed by itself. Where it begins is known
		// only when it is made: it is made twice, the second time as the first.
		from := len(g.places)
		entry := g.add(s.parts[0], []int{again})
		loop := either(entry, follow)
		for i := from; i < len(g.places); i++ {
			g.places[i].next = distinctPlaces(replaced(g.places[i].next, loop))
		}
		if begin = entry; least == 0 {
			begin = loop
		}
		least = max(least-1, 0)
	} else {
		for range s.most - s.least {
			begin = either(g.add(s.parts[0], begin), follow)
		}
	}
	for range least {
		begin = g.add(s.parts[0], begin)
	}
	return begin
}

// again stands for where a repetition goes on, until that is known.
const again = -2

func replaced(list, by []int) []int {
	if i := slices.Index(list, again); i >= 0 {
		return slices.Replace(slices.Clone(list), i, i+1, by...)
	}
	return list
}

// distinctPlaces leaves out what a more preferred one is already.
func distinctPlaces(list []int) []int {
	kept := make([]int, 0, len(list))
	for _, at := range list {
		if !slices.Contains(kept, at) {
			kept = append(kept, at)
		}
	}
	return kept
}
