// Package schemagen generates random JSON Schemas, and documents that use the same names and values, for tests.
package schemagen

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
)

// Generator generates schemas of the keywords that weir's compiled plans know, and documents.
type Generator struct{ *rand.Rand }

func (g Generator) pick(of ...any) any { return of[g.IntN(len(of))] }

func (g Generator) number() json.Number {
	return json.Number(g.pick("0", "1", "-1", "2", "10", "0.1", "0.10", "1.0", "1e1", "1E-1", "2.5", "-2.5", "100",
		"99.999999999999999999",
		"3", "123456789012345678", "0.30000000000000004", "1e-400", "5").(string))
}

func (g Generator) text() string {
	return g.pick("", "a", "b", "ab", "é", "日本", "a\"b", "A1", "xyz", "2026-11-21T09:30:00Z", "2026-11-21T09:30:00",
		"2016-12-31T23:59:60Z",
		"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b", "6F1C2A34-9B7D-4E21-8A55-0C1D2E3F4A5B", "1.2.3.4", "a/b", "\u0000").(string)
}

func (g Generator) key() string { return g.pick("a", "b", "c", "d", "é", "a/b", "").(string) }

// Schema returns a random schema. References point at /$defs/x and /$defs/y.
func (g Generator) Schema(depth int) any {
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
	sub := func() any { return g.Schema(depth - 1) }
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
	maybe(12, "multipleOf", func() any {
		return g.pick(json.Number("1"), json.Number("0.1"), json.Number("2.5"), json.Number("3"))
	})
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

func (g Generator) scalar() any {
	return g.pick(nil, true, false, g.text(), g.text(), g.number(), g.number())
}

// Document returns a random document.
func (g Generator) Document(depth int) any {
	switch n := g.IntN(8); {
	case depth == 0 || n < 3:
		return g.scalar()
	case n < 5:
		a := []any{}
		for range g.IntN(4) {
			a = append(a, g.Document(depth-1))
		}
		return a
	default:
		o := map[string]any{}
		for range g.IntN(5) {
			o[g.key()] = g.Document(depth - 1)
		}
		return o
	}
}

// Edit changes a schema at a random place and returns it; v may be modified.
func (g Generator) Edit(v any, depth int) any {
	m, ok := v.(map[string]any)
	if !ok || g.IntN(6) == 0 {
		return g.Schema(max(depth, 0))
	}
	if keys := slices.Sorted(maps.Keys(m)); len(keys) > 0 && g.IntN(3) > 0 {
		k := keys[g.IntN(len(keys))]
		sub, isMap := m[k].(map[string]any)
		switch {
		case isMap && (k == "properties" || k == "$defs"):
			if names := slices.Sorted(maps.Keys(sub)); len(names) > 0 {
				n := names[g.IntN(len(names))]
				sub[n] = g.Edit(sub[n], depth-1)
			}
			return m
		case isMap:
			m[k] = g.Edit(sub, depth-1)
			return m
		case g.IntN(2) == 0:
			delete(m, k)
			return m
		}
	}
	if other, ok := g.Schema(max(depth, 0)).(map[string]any); ok {
		for _, k := range slices.Sorted(maps.Keys(other)) {
			m[k] = other[k]
			break
		}
	}
	return m
}
