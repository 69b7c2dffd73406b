package schemadoc

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// rewriting replaces the ECMA-262 patterns in a document by patterns of package regexp, which the library uses.
type rewriting struct {
	written map[string]string // original pattern by translated one
	err     error             // of the first pattern without an equivalent, or of an exceeded limit
	objects int
	steps   int // of all patterns together
}

// Limits on the cost of compiling and comparing a schema: far above schemas in practice, and less than a second.
const (
	objectsMax = 2000
	stepsMax   = 50_000
)

// costs adds to a counter and records an error when it exceeds its limit.
func (w *rewriting) costs(count *int, more, most int, what, at string) bool {
	if *count += more; *count <= most {
		return true
	}
	if w.err == nil {
		w.err = fmt.Errorf("#%s: the schema has more than %d %s: take it apart, or say it with fewer", at, most, what)
	}
	return false
}

// subschemas says what each keyword of any draft contains: a schema or a list of schemas (false), or schemas by name
// (true). Other keywords contain none.
func subschemas() map[string]bool {
	return map[string]bool{
		"allOf": false, "anyOf": false, "oneOf": false, "not": false, "if": false, "then": false, "else": false,
		"items": false, "prefixItems": false, "additionalItems": false, "contains": false, "unevaluatedItems": false,
		"additionalProperties": false, "propertyNames": false, "unevaluatedProperties": false, "contentSchema": false,
		"properties": true, "patternProperties": true, "$defs": true, "definitions": true, "dependentSchemas": true,
		"dependencies": true,
	}
}

// schema rewrites a schema in place. What is under an unknown keyword may be the target of a $ref or anything else:
// it is rewritten where possible, and errors in it are ignored (quiet).
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

// names rewrites the names of patternProperties. Two names with the same translation stay distinct.
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
		return text // the schema may be in force already: let package regexp interpret it
	}
	w.written[re.String()] = text
	return re.String()
}

// quote returns a pattern as the library quotes it in messages.
func quote(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf("%q", s), `\"`, `"`), `'`, `\'`)
	return "'" + s[1:len(s)-1] + "'"
}

func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
