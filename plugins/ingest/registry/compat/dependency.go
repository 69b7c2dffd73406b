package compat

import (
	"maps"
	"slices"

	"weir/internal/event"
)

// dependencies compares what the presence of a property demands, as written in
// dependencies (to draft 7) or dependentRequired and dependentSchemas.
func (c *compat) dependencies(o *sides) {
	wNames, wSchemas := c.w.dependent(o.w)
	rNames, rSchemas := c.r.dependent(o.r)
	for _, key := range slices.Sorted(maps.Keys(merged(wNames, rNames))) {
		w, inW := wNames[key]
		r, inR := rNames[key]
		at := o.r.at + "/dependentRequired/" + event.EscapePointer(key)
		switch more, less := extra(r, w), extra(w, r); {
		case !inR:
			c.add("DEPENDENCY_ARRAY_REMOVED", at, "%s demands other properties beside %q, and %s does not", c.writer(), key,
				c.reader())
		case !inW:
			c.add("DEPENDENCY_ARRAY_ADDED", at, "%s demands other properties beside %q, and %s does not", c.reader(), key,
				c.writer())
		case more && less:
			c.add("DEPENDENCY_ARRAY_CHANGED", at, "%s demands others than %s beside %q", c.reader(), c.writer(), key)
		case more:
			c.add("DEPENDENCY_ARRAY_EXTENDED", at, "%s demands more than %s beside %q", c.reader(), c.writer(), key)
		case less:
			c.add("DEPENDENCY_ARRAY_NARROWED", at, "%s demands less than %s beside %q", c.reader(), c.writer(), key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(merged(wSchemas, rSchemas))) {
		w, r := wSchemas[key], rSchemas[key]
		at := o.r.at + "/dependentSchemas/" + event.EscapePointer(key)
		switch {
		case r == nil:
			c.add("DEPENDENCY_SCHEMA_REMOVED", at, "%s demands a schema beside %q, and %s does not", c.writer(), key, c.reader())
		case w == nil:
			c.add("DEPENDENCY_SCHEMA_ADDED", at, "%s demands a schema beside %q, and %s does not", c.reader(), key, c.writer())
		default:
			c.compare(w, r)
		}
	}
}

func (s *shapes) dependent(of *shape) (names map[string][]string, schemas map[string]*shape) {
	names, schemas = map[string][]string{}, s.named(of, "dependentSchemas")
	for _, keyword := range []string{"dependencies", "dependentRequired"} {
		raw, _ := of.raw[keyword].(map[string]any)
		for key, v := range raw {
			if _, list := v.([]any); list {
				names[key] = texts(v)
			}
		}
	}
	for key, sub := range s.named(of, "dependencies") {
		schemas[key] = sub
	}
	return names, schemas
}

func merged[V any](a, b map[string]V) map[string]bool {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return all
}

// extra tells whether a has a name that b has not.
func extra(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}
