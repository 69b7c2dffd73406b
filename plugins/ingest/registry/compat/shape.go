package compat

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weir/internal/event"
	"weir/internal/platform/schemadoc"
)

// shapeKind is the kind of a schema with respect to compatibility.
type shapeKind string

const (
	shapeAny       shapeKind = "anything"
	shapeNever     shapeKind = "nothing"
	shapeString    shapeKind = "string"
	shapeNumber    shapeKind = "number"
	shapeBoolean   shapeKind = "boolean"
	shapeNull      shapeKind = "null"
	shapeObject    shapeKind = "object"
	shapeArray     shapeKind = "array"
	shapeEnum      shapeKind = "enum"
	shapeNot       shapeKind = "not"
	shapeCondition shapeKind = "condition"
	shapeCombined  shapeKind = "combined"
)

// shape is a schema of one kind. A schema with several conditions (a type and an enum, properties
// and an anyOf) is a combined shape with a part for each, all of which must hold.
type shape struct {
	kind     shapeKind
	at       string         // pointer into its document
	raw      map[string]any // its keywords; nil for true, false and shapes that are not in the document
	typed    bool           // by the keyword type, not only by keywords of that type
	integer  bool           // of numbers
	values   []any          // of an enum; a const is an enum of one
	constant bool           // of an enum: by const
	way      string         // of a combined shape: allOf, anyOf or oneOf
	parts    []*shape
	text     string // equal for equal parts: canonical JSON; "" for parts that are not in the document
}

// shapes is one schema document.
type shapes struct {
	doc    any
	made   map[string]*shape
	places map[string]string // absolute URL, with anchors as fragments → pointer
	bases  map[string]string // pointer → base URL, where an $id sets one
	modern bool              // from 2019-09 on: $ref has siblings
	newest bool              // by its $schema of 2019-09 or later, not only taken to be
	err    error             // the first reference that cannot be resolved
}

func parseShapes(raw []byte) (*shapes, error) {
	s := &shapes{made: map[string]*shape{}, places: map[string]string{}, bases: map[string]string{}, modern: true}
	var err error
	if s.doc, err = schemadoc.Decode(raw); err != nil {
		return nil, fmt.Errorf("parsing JSON: %w", err)
	}
	if m, ok := s.doc.(map[string]any); ok {
		draft, _ := m["$schema"].(string)
		for _, old := range []string{"draft-03", "draft-04", "draft-06", "draft-07"} {
			s.modern = s.modern && !strings.Contains(draft, old)
		}
		s.newest = strings.Contains(draft, "2019-09") || strings.Contains(draft, "2020-12")
	}
	s.index(s.doc, "", schemadoc.URL)
	return s, nil
}

// index notes every $id and anchor of the document.
func (s *shapes) index(v any, at, base string) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range []string{"$id", "id"} {
			if id, ok := v[key].(string); ok && id != "" {
				base = schemadoc.Resolve(base, id)
				s.places[strings.TrimSuffix(base, "#")] = at
			}
		}
		if at == "" {
			s.places[schemadoc.URL] = at
		}
		s.bases[at] = base
		for _, key := range []string{"$anchor", "$dynamicAnchor"} {
			if name, ok := v[key].(string); ok {
				s.places[schemadoc.Resolve(base, "#"+name)] = at
			}
		}
		for k, sub := range v {
			s.index(sub, at+"/"+event.EscapePointer(k), base)
		}
	case []any:
		for i, sub := range v {
			s.index(sub, at+"/"+strconv.Itoa(i), base)
		}
	}
}

func (s *shapes) root() *shape { return s.shape(s.doc, "", 0) }

// referenced returns the shape that a $ref within the document refers to.
func (s *shapes) referenced(ref, from string, depth int) *shape {
	base := ""
	for at := from; base == ""; at = at[:max(strings.LastIndexByte(at, '/'), 0)] {
		base = s.bases[at]
		if at == "" {
			break
		}
	}
	full := schemadoc.Resolve(base, ref)
	at, ok := s.places[strings.TrimSuffix(full, "#")]
	if !ok {
		resource, fragment, _ := strings.Cut(full, "#")
		if at, ok = s.places[resource]; ok {
			fragment, err := url.PathUnescape(fragment)
			ok = err == nil && (fragment == "" || fragment[0] == '/')
			at += fragment
		}
	}
	var raw any
	if ok {
		raw, ok = lookUp(s.doc, at)
	}
	if !ok || depth > 64 {
		if s.err == nil {
			s.err = fmt.Errorf("following $ref %q at #%s: %w", ref, from, schemadoc.ErrRemoteRef)
		}
		return &shape{kind: shapeAny, at: from}
	}
	return s.shape(raw, at, depth+1)
}

// lookUp returns the value at a JSON pointer.
func lookUp(v any, pointer string) (any, bool) {
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[token]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// shape returns the shape at a pointer, always the same one for a pointer.
func (s *shapes) shape(raw any, at string, depth int) *shape {
	if have := s.made[at]; have != nil {
		return have
	}
	out := &shape{kind: shapeAny, at: at, text: schemadoc.Canonical(raw)}
	s.made[at] = out // before its parts: a schema may contain itself
	switch raw := raw.(type) {
	case bool:
		if !raw {
			out.kind = shapeNever
		}
	case map[string]any:
		ref, isRef := raw["$ref"].(string)
		if isRef && (!s.modern || !saysMore(raw)) {
			out = s.referenced(ref, at, depth)
			s.made[at] = out
			return out
		}
		parts := s.parts(raw, at)
		if len(parts) == 1 && !isRef {
			text := out.text
			*out = *parts[0]
			out.text = text
		} else if len(parts) > 0 {
			out.kind, out.way, out.parts = shapeCombined, "allOf", parts
		}
		if isRef {
			out.kind, out.way, out.parts = shapeCombined, "allOf", append(parts, s.referenced(ref, at, depth))
		}
		out.raw = raw
	}
	return out
}

// saysMore tells whether a schema has conditions beside its $ref.
func saysMore(raw map[string]any) bool {
	for k := range raw {
		switch k {
		case "$ref", "$id", "$schema", "$anchor", "$comment", "$defs", "definitions", "title", "description", "default",
			"examples", "deprecated", "readOnly", "writeOnly":
		default:
			if !strings.HasPrefix(k, "x-") {
				return true
			}
		}
	}
	return false
}

func (s *shapes) parts(raw map[string]any, at string) (parts []*shape) {
	if values, ok := raw["enum"].([]any); ok {
		parts = append(parts, &shape{kind: shapeEnum, at: at, raw: raw, values: values})
	}
	if value, ok := raw["const"]; ok {
		parts = append(parts, &shape{kind: shapeEnum, at: at, raw: raw, values: []any{value}, constant: true})
	}
	for _, way := range []string{"allOf", "anyOf", "oneOf"} {
		if subs, ok := raw[way].([]any); ok && len(subs) > 0 {
			c := &shape{kind: shapeCombined, at: at, raw: raw, way: way}
			for i, sub := range subs {
				c.parts = append(c.parts, s.shape(sub, at+"/"+way+"/"+strconv.Itoa(i), 0))
			}
			parts = append(parts, c)
		}
	}
	if not, ok := raw["not"]; ok {
		parts = append(parts, &shape{kind: shapeNot, at: at, raw: raw, parts: []*shape{s.shape(not, at+"/not", 0)}})
	}
	if p := typedParts(raw, at); p != nil {
		parts = append(parts, p)
	} else {
		parts = append(parts, impliedParts(raw, at)...)
	}
	if _, ok := raw["if"]; ok {
		parts = append(parts, &shape{kind: shapeCondition, at: at, raw: raw})
	}
	return parts
}

// typedParts returns the shape for the keyword type; several types are alternatives.
func typedParts(raw map[string]any, at string) *shape {
	one := func(t string) *shape {
		p := &shape{kind: shapeKind(t), at: at, raw: raw, typed: true, text: "type " + t}
		if t == "integer" {
			p.kind, p.integer = shapeNumber, true
		}
		return p
	}
	switch t := raw["type"].(type) {
	case string:
		return one(t)
	case []any:
		c := &shape{kind: shapeCombined, at: at, raw: raw, way: "anyOf"}
		for _, v := range t {
			if name, ok := v.(string); ok {
				c.parts = append(c.parts, one(name))
			}
		}
		if len(c.parts) == 1 {
			return c.parts[0]
		}
		return c
	}
	return nil
}

// keywordsOf lists the keywords that apply only to a type.
func keywordsOf(k shapeKind) []string {
	switch k {
	case shapeArray:
		return []string{"items", "additionalItems", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains",
			"minContains", "maxContains", "unevaluatedItems"}
	case shapeObject:
		return []string{"properties", "required", "minProperties", "maxProperties", "dependencies", "dependentRequired",
			"dependentSchemas",
			"patternProperties", "additionalProperties", "propertyNames", "unevaluatedProperties"}
	case shapeNumber:
		return []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
	default:
		return []string{"minLength", "maxLength", "pattern", "format"}
	}
}

// impliedParts returns the shapes that the keywords of a schema without type imply.
func impliedParts(raw map[string]any, at string) (parts []*shape) {
	for _, k := range []shapeKind{shapeArray, shapeObject, shapeNumber, shapeString} {
		if slices.ContainsFunc(keywordsOf(k), func(word string) bool { _, ok := raw[word]; return ok }) {
			parts = append(parts, &shape{kind: k, at: at, raw: raw, text: "implied " + string(k)})
		}
	}
	return parts
}
