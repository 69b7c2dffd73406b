package schema

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/platform/rawjson"
)

// generator writes random schemas of what plans know, and documents near them.
type generator struct{ *rand.Rand }

func (g generator) pick(of ...any) any { return of[g.IntN(len(of))] }

func (g generator) number() json.Number {
	return json.Number(g.pick("0", "1", "-1", "2", "10", "0.1", "0.10", "1.0", "1e1", "1E-1", "2.5", "-2.5", "100", "99.999999999999999999",
		"3", "123456789012345678", "0.30000000000000004", "1e-400", "5").(string))
}

func (g generator) text() string {
	return g.pick("", "a", "b", "ab", "é", "日本", "a\"b", "A1", "xyz", "2026-11-21T09:30:00Z", "2026-11-21T09:30:00", "2016-12-31T23:59:60Z",
		"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b", "6F1C2A34-9B7D-4E21-8A55-0C1D2E3F4A5B", "1.2.3.4", "a/b", "\u0000").(string)
}

func (g generator) key() string { return g.pick("a", "b", "c", "d", "é", "a/b", "").(string) }

// schema returns a random schema. References point at /$defs/x and /$defs/y.
func (g generator) schema(depth int) any {
	if g.IntN(12) == 0 {
		return g.IntN(3) > 0
	}
	s := map[string]any{}
	maybe := func(n int, key string, v func() any) {
		if g.IntN(n) == 0 {
			s[key] = v()
		}
	}
	num := func() any { return g.number() }
	size := func() any { return g.IntN(4) }
	sub := func() any { return g.schema(depth - 1) }
	maybe(2, "type", func() any {
		t := []any{"object", "array", "string", "number", "integer", "boolean", "null"}
		if g.IntN(4) == 0 {
			return []any{t[g.IntN(3)], t[3+g.IntN(4)]}
		}
		return t[g.IntN(len(t))]
	})
	for _, k := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} {
		maybe(8, k, num)
	}
	maybe(12, "multipleOf", func() any { return g.pick(json.Number("1"), json.Number("0.1"), json.Number("2.5"), json.Number("3")) })
	for _, k := range []string{"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"} {
		maybe(10, k, size)
	}
	maybe(10, "format", func() any { return g.pick("uuid", "date-time", "ipv4", "unknown") })
	maybe(10, "pattern", func() any {
		return g.pick("^[a-z]{1,3}$", "^[A-Za-z0-9._:-]+$", "b", "^a", "^[^a]*$", "^\\d?$", "(?i)^[k]*$")
	})
	maybe(12, "enum", func() any { return []any{g.scalar(), g.scalar(), g.scalar()} })
	maybe(16, "const", func() any { return g.scalar() })
	if depth > 0 {
		maybe(2, "properties", func() any {
			p := map[string]any{}
			for range g.IntN(4) {
				p[g.key()] = sub()
			}
			return p
		})
		maybe(4, "additionalProperties", sub)
		maybe(4, "items", sub)
		maybe(8, "allOf", func() any { return []any{sub(), sub()} })
		maybe(8, "$ref", func() any { return g.pick("#/$defs/x", "#/$defs/y") })
		maybe(20, g.pick("anyOf", "oneOf").(string), func() any { return []any{sub(), sub()} })
	}
	maybe(4, "required", func() any {
		if g.IntN(2) == 0 {
			return []any{g.key()}
		}
		return []any{"a", "b"}
	})
	return s
}

func (g generator) scalar() any {
	return g.pick(nil, true, false, g.text(), g.text(), g.number(), g.number())
}

func (g generator) document(depth int) any {
	switch n := g.IntN(8); {
	case depth == 0 || n < 3:
		return g.scalar()
	case n < 5:
		a := []any{}
		for range g.IntN(4) {
			a = append(a, g.document(depth-1))
		}
		return a
	default:
		o := map[string]any{}
		for range g.IntN(5) {
			o[g.key()] = g.document(depth - 1)
		}
		return o
	}
}

// both compiles a schema; ok is false when it does not compile or has no plan.
func both(schema []byte) (lib *jsonschema.Schema, root *node, ok bool) {
	lib, err := compileLibrary(schema, true)
	if err != nil {
		return nil, nil, false
	}
	root, ok = planAny(lib, true)
	return lib, root, ok
}

// differ checks one pair and returns what each says; ok is false when the
// document is not JSON.
func differ(t *testing.T, schema, doc []byte, lib *jsonschema.Schema, root *node) (plan, library, ok bool) {
	t.Helper()
	strict := rawjson.Document(doc) == nil
	var w walk
	plan = w.document(doc, root)
	if plan && !strict {
		t.Fatalf("schema %s\naccepts %q, which is not JSON", schema, doc)
	}
	if !strict {
		return false, false, false
	}
	v, err := decode(doc)
	if err != nil {
		t.Fatalf("%q: %v", doc, err)
	}
	err = lib.Validate(v)
	if _, loops := err.(jsonschema.InfiniteLoopError); loops {
		return false, false, false
	}
	if library = err == nil; plan && !library {
		t.Fatalf("schema %s\nthe plan accepts %s\nthe library says %#v", schema, doc, err)
	}
	return plan, library, true
}

func TestAPlanAcceptsOnlyWhatTheLibraryAccepts(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(7, 7))}
	pairs, valid, decided := 0, 0, 0
	for range 2_000 {
		s := g.schema(3)
		if m, ok := s.(map[string]any); ok {
			m["$defs"] = map[string]any{"x": g.schema(2), "y": g.schema(1)}
		}
		schema, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		lib, root, ok := both(schema)
		for n := 0; ok && n < 30; n++ {
			doc, err := json.Marshal(g.document(3))
			if err != nil {
				t.Fatal(err)
			}
			plan, library, ok := differ(t, schema, doc, lib, root)
			if !ok {
				continue
			}
			pairs++
			if library {
				valid++
			}
			if plan {
				decided++
			}
		}
	}
	t.Logf("%d pairs, %d valid, the plans decided %d of them", pairs, valid, decided)
	if pairs < 10_000 || valid < 2_000 || decided < valid*9/10 {
		t.Errorf("%d pairs, %d valid, %d decided: too few to mean something", pairs, valid, decided)
	}
}

func FuzzPlanAgainstLibrary(f *testing.F) {
	g := generator{rand.New(rand.NewPCG(1, 1))}
	for range 200 {
		schema, err := json.Marshal(g.schema(2))
		if err != nil {
			f.Fatal(err)
		}
		doc, err := json.Marshal(g.document(2))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(schema, doc)
	}
	f.Fuzz(func(t *testing.T, schema, doc []byte) {
		if len(schema) > 4096 || len(doc) > 4096 {
			return
		}
		if lib, root, ok := both(schema); ok {
			differ(t, schema, doc, lib, root)
		}
	})
}

// FuzzJudge holds the two ways of the judge to one verdict.
func FuzzJudge(f *testing.F) {
	set := shipped(f)
	for _, s := range []string{goodEvent, event1("1.0.0", `{"cpu_temp":1,"battery_voltage":2,"vibration":3}`), event1("3.0.0", `{"cpu_temp":1e1,"battery_voltage":2,"x,y":3}`),
		strings.Replace(goodEvent, `"rssi"`, `"r\u00e9ssi"`, 1), strings.Replace(goodEvent, `{`, `{"x":[{}],`, 1), strings.Replace(goodEvent, `.123Z`, `+05:30`, 1)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		j := NewJudge(set)
		quick, ok := j.quick(raw)
		slow := NewJudge(set).slow(raw)
		if slow.Rejection != nil && len(slow.Rejection.Errors) == 0 {
			t.Fatalf("%q: rejected without a reason", raw)
		}
		if !ok {
			return
		}
		if slow.Rejection != nil {
			t.Fatalf("%q: accepted by the plan, rejected by the library: %v", raw, slow.Rejection.Errors)
		}
		q := fmt.Sprint(quick.Schema.Name(), quick.Device, quick.Time.UTC()) + fmt.Sprintf("%q %q", quick.Metrics, quick.Fields)
		s := fmt.Sprint(slow.Schema.Name(), slow.Device, slow.Time.UTC()) + fmt.Sprintf("%q %q", slow.Metrics, slow.Fields)
		if q != s {
			t.Fatalf("%q:\nplan    %s\nlibrary %s", raw, q, s)
		}
	})
}
