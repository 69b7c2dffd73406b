package rule

import (
	"fmt"
	"slices"
	"strings"

	"weir/internal/platform/predicate"
	"weir/internal/platform/rawjson"
	"weir/internal/platform/sketch"
)

// termName, with the number of the term behind it, is the field that a term is rewritten to in a condition.
const termName = "@"

// termNeeds reports whether there is a term of a name, and what it needs of its column.
func termNeeds(kind string) (need, bool) {
	switch kind {
	case "count", "first", "last", "prev":
		return 0, true
	case "sum", "avg", "min", "max":
		return needNumbers, true
	}
	return 0, false
}

// rewrite replaces the terms of a condition that look back, as last(fail.country) does, by fields this."@0",
// this."@1" and so on, by their index in s.terms. It returns a condition without such terms as it is.
func (s *patternSpec) rewrite(source string, column func(source string, needs need, vars uint64) int) (string, error) {
	var b strings.Builder
	from := 0
	for w := (words{s: source}); w.next(); {
		var t term
		var end int
		needs, isTerm := termNeeds(w.word)
		switch {
		case isTerm && strings.HasPrefix(source[w.end:], "("):
			arg, closed := w.bracket()
			if !closed {
				return "", fmt.Errorf("the bracket after %s is not closed: add the closing one", w.word)
			}
			t.kind, end = w.word, w.end
			if err := s.termOf(&t, arg, needs, column); err != nil {
				return "", err
			}
		case slices.Contains(s.names, w.word):
			t.kind, end = "last", w.path()
			if end == w.end {
				return "", fmt.Errorf("%s stands for several events: write count(%s), last(%s.x) or %s.x", w.word, w.word,
					w.word, w.word)
			}
			if err := s.termOf(&t, source[w.from:end], 0, column); err != nil {
				return "", err
			}
		case w.word != "this" && strings.HasPrefix(source[w.end:], ".") && !strings.Contains(source, "->"):
			return "", fmt.Errorf("%s is not a variable of the pattern: for a field of the event write this.%s", w.word,
				w.word)
		default:
			continue
		}
		i := slices.Index(s.terms, t)
		if i < 0 {
			i = len(s.terms)
			s.terms = append(s.terms, t)
		}
		fmt.Fprintf(&b, `%sthis."%s%d"`, source[from:w.from], termName, i)
		from, w.end = end, end
	}
	if from == 0 {
		return source, nil
	}
	return b.String() + source[from:], nil
}

// termOf reads the argument of a term.
func (s *patternSpec) termOf(t *term, arg string, needs need, column func(string, need, uint64) int) error {
	if t.kind == "prev" {
		source := strings.TrimSpace(arg)
		if plainPath.MatchString(source) && !strings.HasPrefix(source, "this.") {
			source = "this." + source
		}
		s.prev, t.v, t.col = true, gapRow, column(source, 0, 0)
		return nil
	}
	v, source, err := argument(s.names, arg)
	switch {
	case err != nil:
		return err
	case v == gapRow:
		return fmt.Errorf("%s(%s) names no variable of the pattern: write one, as in %s(%s.x)", t.kind, arg, t.kind,
			s.names[0])
	case source == "" && t.kind != "count":
		return fmt.Errorf("%s(%s) needs a value, as in %s(%s.x)", t.kind, arg, t.kind, arg)
	}
	if t.v, t.col = v, -1; source != "" {
		t.col = column(source, needs, 1<<v)
	}
	return nil
}

// argument reads the argument of an aggregate: the variable of names that it is about, gapRow when it names none,
// and the expression to evaluate on the variable's events, in which the variable is replaced by this. source is ""
// when the argument is the variable alone.
func argument(names []string, arg string) (v int, source string, err error) {
	v = gapRow
	var b strings.Builder
	from := 0
	for w := (words{s: arg}); w.next(); {
		i := slices.Index(names, w.word)
		if i < 0 {
			continue
		}
		if v >= 0 && v != i {
			return 0, "", fmt.Errorf("%q names both %s and %s: a value may name only one of the two", arg, names[v], w.word)
		}
		v = i
		if strings.TrimSpace(arg) == w.word {
			return v, "", nil
		}
		b.WriteString(arg[from:w.from] + "this")
		from = w.end
	}
	return v, strings.TrimSpace(b.String() + arg[from:]), nil
}

// words iterates over the words of an expression that are neither a field nor a method name nor within a string.
type words struct {
	s         string
	from, end int
	word      string
}

func (w *words) next() bool {
	for i := w.end; i < len(w.s); {
		switch c := w.s[i]; {
		case c == '"':
			i = textEnd(w.s, i)
		case wordByte(c):
			end := i
			for end < len(w.s) && (wordByte(w.s[end]) || w.s[end] >= '0' && w.s[end] <= '9') {
				end++
			}
			if before := strings.TrimRight(w.s[:i], " \t\r\n"); !strings.HasSuffix(before, ".") {
				w.from, w.end, w.word = i, end, w.s[i:end]
				return true
			}
			i = end
		case c >= '0' && c <= '9':
			for i < len(w.s) && (wordByte(w.s[i]) || w.s[i] >= '0' && w.s[i] <= '9') {
				i++
			}
		default:
			i++
		}
	}
	return false
}

func hasWord(s, word string) bool {
	for w := (words{s: s}); w.next(); {
		if w.word == word {
			return true
		}
	}
	return false
}

// textEnd returns the index after the string literal that begins at i.
func textEnd(s string, i int) int {
	for i++; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(s))
}

// bracket returns what is within the brackets after the word, and moves behind them.
func (w *words) bracket() (inside string, closed bool) {
	depth := 0
	for i := w.end; i < len(w.s); i++ {
		switch w.s[i] {
		case '"':
			i = textEnd(w.s, i) - 1
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				inside = w.s[w.end+1 : i]
				w.end = i + 1
				return inside, true
			}
		}
	}
	return "", false
}

// path returns the index after the field names that follow the word. A name before a bracket is a method, and not
// part of the path.
func (w *words) path() (end int) {
	for end = w.end; end+1 < len(w.s) && w.s[end] == '.'; {
		i := end + 1
		if w.s[i] == '"' {
			end = textEnd(w.s, i)
			continue
		}
		for i < len(w.s) && (wordByte(w.s[i]) || w.s[i] >= '0' && w.s[i] <= '9') {
			i++
		}
		if i == end+1 || i < len(w.s) && w.s[i] == '(' {
			break
		}
		end = i
	}
	return end
}

// termState is the state of a term over the events that a thread has matched.
type termState struct {
	n        int64
	sum      sketch.Exact
	low, top float64
	json     string
}

// add adds an event of the term's variable.
func (t *term) add(s *termState, values []string) {
	if t.col < 0 {
		s.n++
		return
	}
	v := scalar(values[t.col])
	if v.Kind <= predicate.Null {
		return
	}
	s.n++
	switch t.kind {
	case "first":
		if s.n == 1 {
			s.json = values[t.col]
		}
	case "last":
		s.json = values[t.col]
	case "sum", "avg":
		s.sum.Add(v.Num)
	case "min", "max":
		if s.n == 1 {
			s.low, s.top = v.Num, v.Num
		}
		s.low, s.top = min(s.low, v.Num), max(s.top, v.Num)
	}
}

// value returns what a condition sees: null when no event had a value, except for count.
func (t *term) value(s *termState) predicate.Value {
	number := func(f float64) predicate.Value { return predicate.Value{Kind: predicate.Float, Num: f} }
	switch {
	case t.kind == "count":
		return predicate.Value{Kind: predicate.Int, Int: s.n, Num: float64(s.n)}
	case s.n == 0:
		return predicate.Value{Kind: predicate.Null}
	case t.kind == "sum":
		return number(s.sum.Hi)
	case t.kind == "avg":
		return number(s.sum.Hi / float64(s.n))
	case t.kind == "min":
		return number(s.low)
	case t.kind == "max":
		return number(s.top)
	}
	return scalar(s.json)
}

// same reports whether two states are equal, so that further events keep them equal.
func (t *term) same(a, b *termState) bool {
	switch t.kind {
	case "count":
		return a.n == b.n
	case "sum":
		return (a.n == 0) == (b.n == 0) && a.sum == b.sum
	case "avg":
		return a.n == b.n && a.sum == b.sum
	case "min":
		return (a.n == 0) == (b.n == 0) && a.low == b.low
	case "max":
		return (a.n == 0) == (b.n == 0) && a.top == b.top
	}
	return (a.n == 0) == (b.n == 0) && a.json == b.json
}

// scalar parses a value that was kept as JSON; "" is one that was missing.
func scalar(json string) predicate.Value {
	if json == "" {
		return predicate.Value{}
	}
	v, err := predicate.Parse(rawjson.Bytes(json))
	if err != nil { // cannot be: appendScalar wrote it
		return predicate.Value{Kind: predicate.Null}
	}
	return v
}
