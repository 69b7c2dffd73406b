package compat

import (
	"fmt"
	"slices"

	"weir/internal/platform/schemadoc"
)

// compat compares what a writer's schema allows with what a reader's schema accepts. The writer's
// is the older of the two if newIsReader is set, else the newer.
type compat struct {
	policy      Policy
	newIsReader bool
	w, r        *shapes
	out         *outcome
	*compared
}

// harmless tells whether differences of a rule do not break a reader.
func harmless(rule string) bool {
	return slices.Contains([]string{
		"SCHEMA_REMOVED", "TYPE_EXTENDED",
		"MAX_LENGTH_INCREASED", "MAX_LENGTH_REMOVED", "MIN_LENGTH_DECREASED", "MIN_LENGTH_REMOVED", "PATTERN_REMOVED",
		"FORMAT_REMOVED",
		"MAXIMUM_INCREASED", "MAXIMUM_REMOVED", "MINIMUM_DECREASED", "MINIMUM_REMOVED",
		"EXCLUSIVE_MAXIMUM_INCREASED", "EXCLUSIVE_MAXIMUM_REMOVED", "EXCLUSIVE_MINIMUM_DECREASED",
		"EXCLUSIVE_MINIMUM_REMOVED",
		"MULTIPLE_OF_REDUCED", "MULTIPLE_OF_REMOVED",
		"REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED", "REQUIRED_ATTRIBUTE_REMOVED",
		"DEPENDENCY_ARRAY_NARROWED", "DEPENDENCY_ARRAY_REMOVED", "DEPENDENCY_SCHEMA_REMOVED",
		"MAX_PROPERTIES_INCREASED", "MAX_PROPERTIES_REMOVED", "MIN_PROPERTIES_DECREASED", "MIN_PROPERTIES_REMOVED",
		"ADDITIONAL_PROPERTIES_ADDED", "ADDITIONAL_PROPERTIES_EXTENDED", "UNEVALUATED_PROPERTIES_ADDED",
		"UNEVALUATED_PROPERTIES_EXTENDED",
		"OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL",
		"PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL",
		"REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL", "OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL",
		"PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", "PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL",
		"PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
		"PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
		"PATTERN_PROPERTY_REMOVED",
		"MAX_ITEMS_INCREASED", "MAX_ITEMS_REMOVED", "MIN_ITEMS_DECREASED", "MIN_ITEMS_REMOVED", "UNIQUE_ITEMS_REMOVED",
		"MAX_CONTAINS_INCREASED", "MAX_CONTAINS_REMOVED", "MIN_CONTAINS_DECREASED", "MIN_CONTAINS_REMOVED",
		"ADDITIONAL_ITEMS_ADDED", "ADDITIONAL_ITEMS_EXTENDED", "UNEVALUATED_ITEMS_ADDED", "UNEVALUATED_ITEMS_EXTENDED",
		"ITEM_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", "ITEM_ADDED_TO_CLOSED_CONTENT_MODEL",
		"ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", "ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL",
		"ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
		"ENUM_ARRAY_EXTENDED", "COMBINED_TYPE_EXTENDED", "PRODUCT_TYPE_NARROWED", "SUM_TYPE_EXTENDED", "NOT_TYPE_NARROWED",
	}, rule)
}

// reader and writer name the two schemas in messages.
func (c *compat) reader() string {
	if c.newIsReader {
		return "the new schema"
	}
	return "the old schema"
}

func (c *compat) writer() string {
	if c.newIsReader {
		return "the old schema"
	}
	return "the new schema"
}

func (c *compat) add(rule, at, format string, args ...any) {
	c.out.add(Difference{Rule: rule, Pointer: at, Message: fmt.Sprintf(format, args...), Breaking: !harmless(rule)})
}

// breaks adds a difference that the policy takes as breaking, whatever its rule.
func (c *compat) breaks(rule, at, format string, args ...any) {
	c.out.add(Difference{Rule: rule, Pointer: at, Message: fmt.Sprintf(format, args...), Breaking: true})
}

// try compares a pair without adding the differences, and tells whether the reader accepts all that
// the writer allows.
func (c *compat) try(w, r *shape) (found *outcome, ok bool) {
	aside := *c
	aside.out = &outcome{}
	aside.compare(w, r)
	return aside.out, !aside.out.breaks
}

func (c *compat) compare(w, r *shape) {
	if w == nil && r == nil {
		return
	}
	if w == nil {
		c.add("SCHEMA_ADDED", r.at, "%s demands something here, and %s nothing", c.reader(), c.writer())
		return
	}
	if r == nil {
		c.add("SCHEMA_REMOVED", w.at, "%s demands something here, and %s nothing", c.writer(), c.reader())
		return
	}
	c.out.accept(c.once(pair{w, r}, func(out *outcome) {
		aside := *c
		aside.out = out
		aside.comparePair(w, r)
	}))
}

func (c *compat) comparePair(w, r *shape) {
	if c.throughAlternatives(w, r) {
		return
	}
	if w.kind != r.kind || c.policy == PolicyStrict && w.constant != r.constant {
		if w.kind != shapeNever && r.kind != shapeAny && !c.bothBytes(w, r) {
			c.add("TYPE_CHANGED", r.at, "%s allows %s, and %s takes %s", c.writer(), w.describe(), c.reader(), r.describe())
		}
		return
	}
	if c.policy == PolicyAdditive && !w.typed && r.typed {
		c.add("TYPE_NARROWED", r.at, "%s takes only %s here, and %s does not name a type", c.reader(), r.describe(),
			c.writer())
	}
	switch w.kind {
	case shapeString:
		c.strings(w, r)
	case shapeNumber:
		c.numbers(w, r)
	case shapeEnum:
		c.enums(w, r)
	case shapeObject:
		c.objects(w, r)
	case shapeArray:
		c.arrays(w, r)
	case shapeCombined:
		c.combined(w, r)
	case shapeNot:
		c.nots(w, r)
	case shapeCondition:
		if c.policy == PolicyAdditive && schemadoc.Canonical([]any{w.raw["if"], w.raw["then"], w.raw["else"]}) !=
			schemadoc.Canonical([]any{r.raw["if"], r.raw["then"], r.raw["else"]}) {
			c.add("CONDITION_CHANGED", r.at+"/if", "the condition is another, and whether it still takes what it took cannot "+
				"be told")
		}
	}
	if c.policy == PolicyAdditive {
		c.units(w, r)
	}
}

// bothBytes tells whether both are bytes as Kafka Connect describes them: Confluent's registry lets
// their type change.
func (c *compat) bothBytes(w, r *shape) bool {
	const keyword = "connect.type"
	return c.policy == PolicyStrict && w.raw[keyword] == "bytes" && r.raw[keyword] == "bytes"
}

// units compares the units of readings.
func (c *compat) units(w, r *shape) {
	const keyword = "x-unit"
	from, ok1 := w.raw[keyword].(string)
	to, ok2 := r.raw[keyword].(string)
	if ok1 && ok2 && from != to {
		c.add("UNIT_CHANGED", r.at+"/"+keyword, "the unit is %q in %s and %q in %s", from, c.writer(), to, c.reader())
	}
}

func (s *shape) describe() string {
	switch {
	case s.integer:
		return "integers"
	case s.kind == shapeCombined:
		names := map[string]string{"allOf": "what meets several schemas", "anyOf": "any of several schemas",
			"oneOf": "one of several schemas"}
		return names[s.way]
	case s.constant:
		return "one value"
	case s.kind == shapeEnum:
		return "listed values"
	}
	return string(s.kind)
}

// another tells whether one of the parts accepts the writer's shape.
func (c *compat) another(w *shape, parts []*shape) bool {
	for _, p := range parts {
		if _, ok := c.try(w, p); ok {
			return true
		}
	}
	return false
}

// throughAlternatives handles a pair of which one is combined and the other
// is not: it is enough that one alternative of the reader takes the writer's
// shape, or that one of the writer's demands alone would satisfy the reader.
func (c *compat) throughAlternatives(w, r *shape) (done bool) {
	accept := func(found *outcome, rule, at, message string) {
		c.out.accept(found)
		if rule != "" {
			c.add(rule, at, "%s", message)
		}
	}
	switch {
	case w.kind != shapeCombined && r.kind == shapeCombined:
		if len(r.parts) == 1 {
			if found, ok := c.try(w, r.parts[0]); ok {
				accept(found, "", "", "")
				return true
			}
		} else if r.way != "allOf" {
			for i, p := range r.parts {
				if found, ok := c.try(w, p); ok {
					if c.policy == PolicyAdditive && r.way == "oneOf" && c.another(w, r.parts[i+1:]) {
						c.add("ALTERNATIVES_OVERLAP", r.at+"/oneOf", "two alternatives of %s take what %s allows, and only one may",
							c.reader(), c.writer())
						return true
					}
					accept(found, "SUM_TYPE_EXTENDED", r.at, c.reader()+" has alternatives beside this one")
					return true
				}
			}
		}
	case w.kind == shapeCombined && r.kind != shapeCombined:
		if len(w.parts) == 1 {
			if found, ok := c.try(w.parts[0], r); ok {
				accept(found, "", "", "")
				return true
			}
		} else if w.way == "allOf" {
			for _, p := range w.parts {
				if found, ok := c.try(p, r); ok {
					accept(found, "PRODUCT_TYPE_NARROWED", r.at, c.writer()+" demands more beside this")
					return true
				}
			}
		}
	}
	return false
}
