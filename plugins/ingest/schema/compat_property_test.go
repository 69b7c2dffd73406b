package schema

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// edit changes a random place of a schema.
func (g generator) edit(v any, depth int) any {
	m, ok := v.(map[string]any)
	if !ok || g.IntN(6) == 0 {
		return g.schema(max(depth, 0))
	}
	if keys := sortedKeys(m); len(keys) > 0 && g.IntN(3) > 0 {
		k := keys[g.IntN(len(keys))]
		sub, isMap := m[k].(map[string]any)
		switch {
		case isMap && (k == "properties" || k == "$defs"):
			if names := sortedKeys(sub); len(names) > 0 {
				n := names[g.IntN(len(names))]
				sub[n] = g.edit(sub[n], depth-1)
			}
			return m
		case isMap:
			m[k] = g.edit(sub, depth-1)
			return m
		case g.IntN(2) == 0:
			delete(m, k)
			return m
		}
	}
	if other, ok := g.schema(max(depth, 0)).(map[string]any); ok {
		for _, k := range sortedKeys(other) {
			m[k] = other[k]
			break
		}
	}
	return m
}

// copied is a schema of its own.
func copied(t *testing.T, v any) any {
	t.Helper()
	out, err := decode([]byte(canonical(v)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestACompatibleVersionTakesWhatWasValid compares random schemas with edits of
// theirs: what the additive policy lets pass takes every document that was valid
// before, except for one thing, which it is there for: a property that is new.
func TestACompatibleVersionTakesWhatWasValid(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(11, 13))}
	compatible, documents := 0, 0
	for range 1_500 {
		old := copied(t, g.schema(2))
		if m, ok := old.(map[string]any); ok {
			m["$defs"] = copied(t, map[string]any{"x": g.schema(1), "y": g.schema(1)})
		}
		before := []byte(canonical(old))
		after := []byte(canonical(g.edit(copied(t, old), 2)))
		was, err1 := compileLibrary(before, true)
		is, err2 := compileLibrary(after, true)
		if err1 != nil || err2 != nil {
			continue
		}
		found, err := Backward(PolicyAdditive, before, after)
		if err != nil || len(Breaking(found)) > 0 || strings.Contains(canonical(found), "PROPERTY_ADDED_TO") {
			continue
		}
		compatible++
		for range 40 {
			doc := copied(t, g.document(2))
			if was.Validate(doc) != nil {
				continue
			}
			documents++
			if err := is.Validate(doc); err != nil {
				t.Errorf("old %s\nnew %s\nis compatible (%v), and refuses %s: %v", before, after, found, canonical(doc), err)
				break
			}
		}
	}
	t.Logf("%d compatible edits, %d documents", compatible, documents)
	if compatible < 300 || documents < 3_000 {
		t.Errorf("%d compatible edits and %d documents are too few to mean something", compatible, documents)
	}
}
