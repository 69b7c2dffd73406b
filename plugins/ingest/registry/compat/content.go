package compat

import (
	"maps"
	"regexp"
	"slices"

	"weir/internal/event"
	"weir/internal/platform/schemadoc"
)

// content is how an object (or a tuple) treats what its schema does not name: open content accepts
// anything, closed nothing, and otherwise there is a schema.
type content struct {
	open     bool
	rest     *shape            // of what is neither named nor matched; nil when open or closed
	patterns map[string]*shape // of objects
	compiled []patternShape
}

type patternShape struct {
	re    *regexp.Regexp
	shape *shape
}

// rule returns the schema for a name, nil if the content is closed to it.
func (m content) rule(name string) *shape {
	for _, p := range m.compiled {
		if p.re.MatchString(name) {
			return p.shape
		}
	}
	return m.rest
}

// keyword returns a subschema, nil if there is none.
func (s *shapes) keyword(of *shape, keyword string) *shape {
	raw, ok := of.raw[keyword]
	if !ok {
		return nil
	}
	switch raw.(type) {
	case bool, map[string]any:
		return s.shape(raw, of.at+"/"+keyword, 0)
	}
	return nil
}

// named returns the subschemas in the object of a keyword, by name.
func (s *shapes) named(of *shape, keyword string) map[string]*shape {
	out := map[string]*shape{}
	raw, _ := of.raw[keyword].(map[string]any)
	for name, sub := range raw {
		switch sub.(type) {
		case bool, map[string]any:
			out[name] = s.shape(sub, of.at+"/"+keyword+"/"+event.EscapePointer(name), 0)
		}
	}
	return out
}

// objectContent returns the content model of an object. additionalProperties takes precedence over
// unevaluatedProperties, which here applies to the same names.
func (s *shapes) objectContent(of *shape) content {
	m := content{patterns: s.named(of, "patternProperties")}
	for _, pattern := range slices.Sorted(maps.Keys(m.patterns)) {
		if re, err := schemadoc.Pattern(pattern); err == nil {
			m.compiled = append(m.compiled, patternShape{re, m.patterns[pattern]})
		}
	}
	rest := s.keyword(of, "additionalProperties")
	if rest == nil {
		rest = s.keyword(of, "unevaluatedProperties")
	}
	switch {
	case rest == nil, rest.kind == shapeAny:
		m.open = len(m.patterns) == 0
	case rest.kind != shapeNever:
		m.rest = rest
	}
	return m
}

func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, x := range list {
		if t, ok := x.(string); ok {
			out = append(out, t)
		}
	}
	return out
}
