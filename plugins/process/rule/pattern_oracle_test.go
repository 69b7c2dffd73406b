package rule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// step is an event as the oracle sees it: a letter, its time in seconds, and a number.
type step struct {
	kind byte
	at   int
	v    int
}

// naive is the search of SQL:2016 by its definition: from each event on it tries all ways in the order
// of preference, and the first that reaches the end of the pattern is the match. It shares the parser
// with the engine, and nothing else.
type naive struct {
	steps  []step
	names  []string
	within int
	is     func(n *naive, name byte, at int) bool
	first  int
	path   []int // the variable of each row from first on
	silent bool
}

// try matches a shape from a row on, and calls then with the row after it.
func (n *naive) try(s *shape, at int, then func(at int) bool) bool {
	mark := len(n.path)
	row := func(v int) bool {
		if at >= len(n.steps) || n.steps[at].at-n.steps[n.first].at > n.within {
			return false
		}
		if v >= 0 && !n.is(n, n.names[v][0], at) {
			return false
		}
		return true
	}
	switch s.op {
	case shapeRow:
		if !row(s.v) {
			return false
		}
		n.path = append(n.path, s.v)
		if then(at + 1) {
			return true
		}
		n.path = n.path[:mark]
		return false
	case shapeGap:
		for ; ; at++ {
			if then(at) {
				return true
			}
			if !row(gapRow) || n.forbidden(s.not, at) {
				break
			}
			n.path = append(n.path, gapRow)
		}
		n.path = n.path[:mark]
		return false
	case shapeAny:
		return slices.ContainsFunc(s.parts, func(part *shape) bool { return n.try(part, at, then) })
	case shapeAll:
		return n.all(s.parts, at, then)
	}
	return n.repeat(s, 0, at, then)
}

func (n *naive) forbidden(not uint64, at int) bool {
	for v := range n.names {
		if not>>v&1 == 1 && n.is(n, n.names[v][0], at) {
			return true
		}
	}
	return false
}

func (n *naive) all(parts []*shape, at int, then func(int) bool) bool {
	if len(parts) == 0 {
		return then(at)
	}
	if s := parts[0]; s.op == shapeGap && len(parts) == 1 { // a gap at the end: no excluded row until the time is over
		for i := at; i < len(n.steps) && n.steps[i].at-n.steps[n.first].at <= n.within; i++ {
			if n.forbidden(s.not, i) {
				return false
			}
		}
		n.silent = true
		return then(at)
	}
	return n.try(parts[0], at, func(at int) bool { return n.all(parts[1:], at, then) })
}

func (n *naive) repeat(s *shape, times, at int, then func(int) bool) bool {
	more := func() bool {
		return (s.most < 0 || times < s.most) && n.try(s.parts[0], at, func(at int) bool {
			return n.repeat(s, times+1, at, then)
		})
	}
	done := func() bool { return times >= s.least && then(at) }
	if s.lazy {
		return done() || more()
	}
	return more() || done()
}

// matches returns a line for each match: the index of its first row, and the variables of its rows.
func (n *naive) matches(whole *shape, mode string) (found []string) {
	for n.first = 0; n.first < len(n.steps); {
		n.path, n.silent = nil, false
		end := 0
		if !n.try(whole, n.first, func(at int) bool { end = at; return true }) {
			n.first++
			continue
		}
		line := fmt.Sprint(n.first)
		next, of := end, -1
		for i, v := range n.path {
			if v < 0 {
				line += " -"
				continue
			}
			line += " " + n.names[v]
			if n.names[v] == "a" && mode == "first(a)" && of < 0 || n.names[v] == "a" && mode == "last(a)" {
				of = n.first + i
			}
		}
		found = append(found, strings.TrimRight(line, " -"))
		switch {
		case mode == "next":
			next = n.first + 1
		case of >= 0:
			next = max(of, n.first+1)
		}
		n.first = next
	}
	return found
}

// engineMatches returns the matches of the engine in the form of naive.matches, which it makes from the
// values. It returns nil if the engine gave up partial matches.
func engineMatches(t *testing.T, pattern, mode, order string, defines map[string]string, steps []step, within int,
	shuffle uint64) []string {
	t.Helper()
	_, names, err := readPattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rules:\n  - name: r\n    key: [device_id]\n    pattern:\n      match: %q\n      within: %ds\n"+
		"      skip: %s\n      order: %s\n      define:\n", pattern, within, mode, order)
	for _, name := range names {
		fmt.Fprintf(&b, "        %s: %q\n", name, defines[name])
	}
	b.WriteString("    select:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "      %s: top(%s.metrics.i, 999)\n", name, name)
	}
	set := mustParse(t, b.String())
	lines := make([]string, len(steps))
	for i, s := range steps {
		lines[i] = fmt.Sprintf(`{"event_id":"00000000-0000-4000-8000-%012x","device_id":"p","device_firmware_version":"%c",`+
			`"timestamp":%q,"metrics":{"v":%d,"i":%d}}`, i, s.kind,
			noon().Add(time.Duration(s.at)*time.Second).Format("2006-01-02T15:04:05.000000Z"), s.v, i)
	}
	found := []string{}
	report, err := set.Try(strings.NewReader(strings.Join(lines, "\n")), Trial{Fleet: "f", Delay: 10 * time.Second,
		Shuffle: shuffle}, func(r Result) error {
		told := parseTold(t, r.JSON)
		of := map[int]string{}
		least, most := len(steps), 0
		for name, list := range told.Values {
			for _, e := range list.([]any) {
				i := int(e.(map[string]any)["value"].(float64))
				of[i] = name
				least, most = min(least, i), max(most, i)
			}
		}
		line := fmt.Sprint(least)
		for i := least; i <= most; i++ {
			if of[i] == "" {
				of[i] = "-"
			}
			line += " " + of[i]
		}
		found = append(found, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if of := report.Rules[0].Outcomes; of[Counted] != int64(len(steps)) {
		t.Fatalf("%v %+v", of, report.Misses)
	}
	if report.Rules[0].GivenUp > 0 {
		return nil
	}
	return found
}

// randomPattern returns a valid pattern of the variables a, b and c.
func randomPattern(r *rand.Rand) (string, *shape, []string) {
	var seq func(depth int) string
	element := func(depth int) string {
		e := string("abc"[r.IntN(3)])
		if depth > 0 && r.IntN(4) == 0 {
			e = "(" + seq(depth-1)
			for r.IntN(2) == 0 {
				e += " | " + seq(depth-1)
			}
			e += ")"
		}
		if r.IntN(2) == 0 {
			e += []string{"*", "+", "?", "{2}", "{2,}", "{,2}", "{1,3}"}[r.IntN(7)]
			if r.IntN(3) == 0 {
				e += "?"
			}
		}
		return e
	}
	seq = func(depth int) string {
		parts := []string{}
		for range 1 + r.IntN(3) {
			switch r.IntN(6) {
			case 0:
				parts = append(parts, "->")
			case 1:
				parts = append(parts, "!"+string("abc"[r.IntN(3)]))
			}
			parts = append(parts, element(depth))
		}
		if r.IntN(6) == 0 {
			parts = append(parts, "!"+string("abc"[r.IntN(3)]))
		}
		return strings.Join(parts, " ")
	}
	for {
		text := seq(2)
		if whole, names, err := readPattern(text); err == nil {
			return text, whole, names
		}
	}
}

// The engine finds the matches of a naive search, for random patterns, histories and ways to skip,
// also if events come in another order within the delay.
func TestPattern_MatchesAreThoseOfANaiveSearch(t *testing.T) {
	defines := map[string]string{
		"a": `this.device_firmware_version == "a"`,
		"b": `this.device_firmware_version != "a" && this.metrics.v < 3`,
		"c": `this.metrics.v > 1`,
	}
	is := func(n *naive, name byte, at int) bool {
		s := n.steps[at]
		switch name {
		case 'a':
			return s.kind == 'a'
		case 'b':
			return s.kind != 'a' && s.v < 3
		}
		return s.v > 1
	}
	against(t, 400, defines, is)
}

// The same with conditions that look back.
func TestPattern_ConditionsThatLookBackAreThoseOfANaiveSearch(t *testing.T) {
	defines := map[string]string{
		"a": `this.metrics.v >= last(a.metrics.v).or(0) && prev(metrics.v).or(0) < 4`,
		"b": `count(a) < 3 && this.metrics.v + sum(b.metrics.v).or(0) <= 6`,
		"c": `this.metrics.v > min(a.metrics.v) || this.metrics.v == max(c.metrics.v) || avg(b.metrics.v) < first(a.metrics.v)`,
	}
	is := func(n *naive, name byte, at int) bool {
		values := map[string][]int{}
		for i, v := range n.path {
			if v >= 0 {
				values[n.names[v]] = append(values[n.names[v]], n.steps[n.first+i].v)
			}
		}
		a, b, c, v := values["a"], values["b"], values["c"], n.steps[at].v
		sum := func(list []int) (sum int) {
			for _, v := range list {
				sum += v
			}
			return sum
		}
		switch name {
		case 'a':
			prev, last := 0, 0
			if at > 0 && n.steps[at].at-n.steps[at-1].at <= n.within {
				prev = n.steps[at-1].v
			}
			if len(a) > 0 {
				last = a[len(a)-1]
			}
			return v >= last && prev < 4
		case 'b':
			return len(a) < 3 && v+sum(b) <= 6
		}
		if len(a) == 0 {
			return false // a comparison with null
		}
		if v > slices.Min(a) {
			return true
		}
		if len(c) > 0 && v == slices.Max(c) {
			return true
		}
		return len(b) > 0 && float64(sum(b))/float64(len(b)) < float64(a[0])
	}
	against(t, 600, defines, is)
}

func against(t *testing.T, rounds uint64, defines map[string]string, is func(*naive, byte, int) bool) {
	t.Helper()
	matches, givenUp := 0, 0
	for seed := range rounds {
		r := rand.New(rand.NewPCG(seed, 7))
		text, whole, names := randomPattern(r)
		mode := []string{"past_last", "next", "past_last"}[r.IntN(3)]
		if slices.Contains(names, "a") {
			mode = []string{"past_last", "next", "first(a)", "last(a)"}[r.IntN(4)]
		}
		used := map[string]string{}
		for _, name := range names {
			used[name] = defines[name]
		}
		for _, other := range "abc" { // skip a pattern if a condition names a variable that it does not have
			if !slices.Contains(names, string(other)) {
				for name := range used {
					if strings.Contains(used[name], string(other)+".") || strings.Contains(used[name], "("+string(other)+")") {
						used = nil
						break
					}
				}
			}
		}
		if used == nil {
			continue
		}
		steps := make([]step, 5+r.IntN(14))
		at := 0
		for i := range steps {
			at += r.IntN(4)
			steps[i] = step{"ab"[r.IntN(2)], at, r.IntN(6)}
		}
		within := 3 + r.IntN(20)
		n := &naive{steps: steps, names: names, within: within, is: is}
		want := n.matches(whole, mode)
		if want == nil {
			want = []string{}
		}
		matches += len(want)
		for i, order := range []string{"time", "time", "arrival"} {
			got := engineMatches(t, text, mode, order, used, steps, within, uint64(i%2)*(seed+1))
			if got == nil {
				givenUp++
			} else if !slices.Equal(got, want) {
				t.Fatalf("seed %d: %s, %s, %s, within %d of %v:\n%q, want\n%q", seed, text, mode, order, within, steps, got, want)
			}
		}
	}
	if matches < int(rounds)/2 || givenUp > int(rounds)/20 {
		t.Errorf("only %d matches, or partial matches were given up in too many histories: %d", matches, givenUp)
	}
}
