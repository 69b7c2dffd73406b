package rule

import "slices"

// program is a compiled pattern: the position automaton (Glushkov) of the pattern. Each place takes one row, and
// lists the places that may follow in order of preference: the order in which a backtracking search would try them.
type program struct {
	places []patternPlace
	start  []int // where a match may begin
}

// patternPlace is a state of the program, which takes a row of a variable, or of a gap.
type patternPlace struct {
	v     int    // the variable; gapRow: a gap
	not   uint64 // of a gap: the variables that the row may not be, a bit each
	wait  bool   // a gap at the end of the pattern: it matches when the time is over
	looks bool   // a condition that can be evaluated from here on looks back at what was matched before
	next  []int  // the places that may follow; matched: the pattern may end
}

const (
	// maxStates bounds the places of a program.
	maxStates = 500
	// gapRow stands for a variable where there is none.
	gapRow = -1
	// matched stands for a place where the pattern ends.
	matched = -1
)

// compileShape compiles a pattern. The conditions of the variables in looks, a bit each, look back at what was
// matched before.
func compileShape(whole *shape, looks uint64) *program {
	g := &program{}
	g.start = distinctPlaces(g.add(whole, []int{matched}))
	for changed := true; changed; { // propagate looks from each place to those before it
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

// add adds the places of a shape, after which those of follow come, and returns the places where it begins.
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
		begin := append(slices.Clone(follow), at) // as few rows as possible
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
		// The last repetition may be followed by itself, and its own places are known only after they are added.
		// So they are added with again as a placeholder, which is replaced afterwards.
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

// again stands for the places that follow a repetition, until they are known.
const again = -2

func replaced(list, by []int) []int {
	if i := slices.Index(list, again); i >= 0 {
		return slices.Replace(slices.Clone(list), i, i+1, by...)
	}
	return list
}

// distinctPlaces removes repeated places; the first, most preferred, stays.
func distinctPlaces(list []int) []int {
	kept := make([]int, 0, len(list))
	for _, at := range list {
		if !slices.Contains(kept, at) {
			kept = append(kept, at)
		}
	}
	return kept
}
