package enrich

import (
	"regexp"
	"strings"

	"weir/internal/platform/rawjson"
)

// splice is a result_map that puts values of the answer where the event has nothing
// yet, as nearly all do: that is done on the event's bytes, which stay as they were
// sent. Whatever else an event or an answer holds is left to the engine.
type splice []assignment

// assignment is one line of it: root.into = this.from.
type assignment struct{ into, from []string }

var assigning = regexp.MustCompile(`^root((?:\.[a-zA-Z_][a-zA-Z0-9_]*)+)\s*=\s*this((?:\.[a-zA-Z_][a-zA-Z0-9_]*)*)$`)

// spliceOf reads a result_map, nil where it is more than assignments.
func spliceOf(text string) (all splice) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		says := assigning.FindStringSubmatch(line)
		if says == nil {
			return nil
		}
		one := assignment{into: strings.Split(says[1][1:], ".")}
		if says[2] != "" {
			one.from = strings.Split(says[2][1:], ".")
		}
		all = append(all, one)
	}
	return all
}

// apply makes the event that has the answer. It is false where the engine is to.
func (s splice) apply(event, answer []byte) ([]byte, bool) {
	if len(s) == 0 || rawjson.Document(answer) != nil {
		return nil, false
	}
	for _, one := range s {
		value, ok := valueAt(answer, rawjson.Space(answer, 0), 0, one.from)
		if !ok {
			return nil, false
		}
		from := rawjson.Space(event, 0)
		in := gap{b: event}
		if end, err := in.find(from, 0, one.into); err != nil || !in.found || rawjson.Space(event, end) < len(event) {
			return nil, false
		}
		name := one.into[len(one.into)-1]
		next := append(make([]byte, 0, len(event)+len(name)+len(value)+4), event[:in.at]...)
		if !in.empty {
			next = append(next, ',')
		}
		next = append(append(append(next, '"'), name...), '"', ':')
		event = append(append(next, value...), event[in.at:]...)
	}
	return event, true
}

// gap is where a member of an object can be put that it has not.
type gap struct {
	b     []byte
	at    int
	empty bool // it is the first
	found bool
	bad   bool // there is something in its place, or may be
}

// find looks for it in the object at i, and returns where that ends.
func (g *gap) find(i, depth int, way []string) (int, error) {
	end, err := rawjson.Object(g.b, i, depth, func(key []byte, plain bool, at int) (int, error) {
		switch {
		case !plain:
			g.bad = true // it may be any name
		case string(key) != way[0]:
		case len(way) > 1 && at < len(g.b) && g.b[at] == '{':
			return g.find(at, depth+1, way[1:])
		default:
			g.bad = true
		}
		return rawjson.Value(g.b, at, depth+1)
	})
	if err == nil && len(way) == 1 {
		g.at, g.empty, g.found = end-1, rawjson.Space(g.b, i+1) == end-1, true
	}
	g.found = g.found && !g.bad
	return end, err
}

// valueAt returns the value at the end of a way, of a document that was read before.
func valueAt(b []byte, i, depth int, way []string) (value []byte, ok bool) {
	if len(way) == 0 {
		end, err := rawjson.Value(b, i, depth)
		return b[i:end], err == nil
	}
	if b[i] != '{' {
		return nil, false
	}
	unsure := false
	_, err := rawjson.Object(b, i, depth, func(key []byte, plain bool, at int) (int, error) {
		unsure = unsure || !plain
		if plain && string(key) == way[0] {
			value, ok = valueAt(b, at, depth+1, way[1:])
		}
		return rawjson.Value(b, at, depth+1)
	})
	return value, ok && !unsure && err == nil
}
