package compat

import (
	"math/rand/v2"
	"strings"
	"testing"

	"weir/internal/platform/schemadoc"
	"weir/tests/schemagen"
)

// copied is a schema of its own.
func copied(t *testing.T, v any) any {
	t.Helper()
	out, err := schemadoc.Decode([]byte(schemadoc.Canonical(v)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCompat_ACompatibleVersionTakesWhatWasValid compares random schemas with edits of
// theirs: what the additive policy lets pass takes every document that was valid
// before, except for one thing, which it is there for: a property that is new.
func TestCompat_ACompatibleVersionTakesWhatWasValid(t *testing.T) {
	g := schemagen.Generator{Rand: rand.New(rand.NewPCG(11, 13))}
	compatible, documents := 0, 0
	for range 1_500 {
		old := copied(t, g.Schema(2))
		if m, ok := old.(map[string]any); ok {
			m["$defs"] = copied(t, map[string]any{"x": g.Schema(1), "y": g.Schema(1)})
		}
		before := []byte(schemadoc.Canonical(old))
		after := []byte(schemadoc.Canonical(g.Edit(copied(t, old), 2)))
		was, err1 := schemadoc.Compile(before)
		is, err2 := schemadoc.Compile(after)
		if err1 != nil || err2 != nil {
			continue
		}
		found, err := Backward(PolicyAdditive, before, after)
		if err != nil || len(Breaking(found)) > 0 || strings.Contains(schemadoc.Canonical(found), "PROPERTY_ADDED_TO") {
			continue
		}
		compatible++
		for range 40 {
			doc := copied(t, g.Document(2))
			if was.Validate(doc) != nil {
				continue
			}
			documents++
			if err := is.Validate(doc); err != nil {
				t.Errorf("old %s\nnew %s\nis compatible (%v), and refuses %s: %v", before, after, found, schemadoc.Canonical(doc),
					err)
				break
			}
		}
	}
	t.Logf("%d compatible edits, %d documents", compatible, documents)
	if compatible < 300 || documents < 3_000 {
		t.Errorf("%d compatible edits and %d documents are too few to mean something", compatible, documents)
	}
}
