package schemadoc

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// rewriting makes a document of one that the library reads as it is meant:
// patterns of ECMA-262 become those of package regexp.
type rewriting struct {
	written map[string]string // by the new pattern
	err     error             // of the first pattern that has no equivalent, or of what costs too much
	objects int
	steps   int // of all patterns
}

// What a schema may cost those who compile and compare it: far more than schemas
// that people write, and less than a second.
const (
	objectsMax = 2000
	stepsMax   = 50_000
)

// costs counts something, and notes when there is too much of it.
func (w *rewriting) costs(count *int, more, most int, what, at string) bool {
	if *count += more; *count <= most {
		return true
	}
	if w.err == nil {
		w.err = fmt.Errorf("#%s: the schema has more than %d %s: take it apart, or say it with fewer", at, most, what)
	}
	return false
}

// subschemas says what lies under a keyword: one schema or a list (false), or
// schemas by name (true). Under other keywords of drafts there are none.
func subschemas() map[string]bool {
	return map[string]bool{
		"allOf": false, "anyOf": false, "oneOf": false, "not": false, "if": false, "then": false, "else": false,
		"items": false, "prefixItems": false, "additionalItems": false, "contains": false, "unevaluatedItems": false,
		"additionalProperties": false, "propertyNames": false, "unevaluatedProperties": false, "contentSchema": false,
		"properties": true, "patternProperties": true, "$defs": true, "definitions": true, "dependentSchemas": true,
		"dependencies": true,
	}
}

// schema rewrites a schema in place. What lies under a keyword of nobody's may
// be meant by a $ref, and may be anything: it is rewritten where that can be
// done, and no error.
func (w *rewriting) schema(v any, at string, quiet bool) {
	switch v := v.(type) {
	case []any:
		for i, sub := range v {
			w.schema(sub, at+"/"+strconv.Itoa(i), quiet)
		}
	case map[string]any:
		w.costs(&w.objects, 1, objectsMax, "objects", at)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := at + "/" + escape(key)
			byName, known := subschemas()[key]
			switch named, isMap := v[key].(map[string]any); {
			case key == "const", key == "enum", key == "default", key == "examples": // values, not schemas
			case key == "pattern":
				if text, ok := v[key].(string); ok {
					v[key] = w.pattern(text, below, quiet)
				}
			case byName && isMap:
				for _, name := range slices.Sorted(maps.Keys(named)) {
					w.schema(named[name], below+"/"+escape(name), quiet)
				}
				if key == "patternProperties" {
					v[key] = w.names(named, below, quiet)
				}
			default:
				w.schema(v[key], below, quiet || !known)
			}
		}
	}
}

// names rewrites the names of patternProperties. Two that come to the same
// pattern stay two.
func (w *rewriting) names(named map[string]any, at string, quiet bool) map[string]any {
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		text := w.pattern(name, at+"/"+escape(name), quiet)
		for out[text] != nil {
			text += "(?:)"
		}
		w.written[text] = name
		out[text] = named[name]
	}
	return out
}

func (w *rewriting) pattern(text, at string, quiet bool) string {
	if p, err := translate(text); err == nil && !w.costs(&w.steps, p.size, stepsMax, "steps in its patterns", at) {
		return text
	}
	re, err := Pattern(text)
	if err != nil {
		if w.err == nil && !quiet {
			w.err = fmt.Errorf("#%s: %w", at, err)
		}
		return text // of a schema that is in force already: as package regexp reads it
	}
	w.written[re.String()] = text
	return re.String()
}

// quote is how the library shows a pattern in a message.
func quote(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf("%q", s), `\"`, `"`), `'`, `\'`)
	return "'" + s[1:len(s)-1] + "'"
}

func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
