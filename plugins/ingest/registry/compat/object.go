package compat

import (
	"maps"
	"slices"

	"weir/internal/event"
)

// sides is a pair of objects being compared.
type sides struct {
	w, r             *shape
	wProps, rProps   map[string]*shape
	wNeeds, rNeeds   []string
	wModel, rModel   content
	onlyOld, onlyNew []string // property names, to guess at renames
}

func (c *compat) objects(w, r *shape) {
	o := &sides{w: w, r: r,
		wProps: c.w.named(w, "properties"), rProps: c.r.named(r, "properties"),
		wNeeds: texts(w.raw["required"]), rNeeds: texts(r.raw["required"]),
		wModel: c.w.objectContent(w), rModel: c.r.objectContent(r)}
	for _, name := range slices.Sorted(maps.Keys(o.wProps)) {
		if o.rProps[name] == nil {
			o.onlyOld = append(o.onlyOld, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.rProps)) {
		if o.wProps[name] == nil {
			o.onlyNew = append(o.onlyNew, name)
		}
	}
	c.properties(o)
	c.required(o)
	c.dependencies(o)
	c.additional(o)
	c.bounded(r.at, "MAX_PROPERTIES", "maxProperties", w.number("maxProperties"), r.number("maxProperties"))
	c.bounded(r.at, "MIN_PROPERTIES", "minProperties", w.number("minProperties"), r.number("minProperties"))
	if c.policy == PolicyAdditive {
		c.patternProperties(o)
		if r.raw["propertyNames"] != nil || w.raw["propertyNames"] != nil {
			c.compare(c.w.keyword(w, "propertyNames"), c.r.keyword(r, "propertyNames"))
		}
	}
}

func (c *compat) properties(o *sides) {
	for _, name := range o.onlyOld { // only the writer names them
		c.writersAlone(o, name)
	}
	for _, name := range o.onlyNew { // only the reader names them
		c.readersAlone(o, name)
	}
	for _, name := range slices.Sorted(maps.Keys(o.rProps)) {
		if w := o.wProps[name]; w != nil {
			c.compare(w, o.rProps[name])
		}
	}
}

// writersAlone judges a property that the reader does not name, by the reader's content model.
// Under the additive policy, if the reader is the newer, this is a removal, which breaks.
func (c *compat) writersAlone(o *sides, name string) {
	w := o.wProps[name]
	add := c.add
	hint := ""
	if c.policy == PolicyAdditive && c.newIsReader {
		add, hint = c.breaks, c.renamed(w, o.onlyNew, o.rProps)
	}
	rule := o.rModel.rule(name)
	switch {
	case o.rModel.open:
		add("PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL", w.at, "%s has the property, and %s does not name it%s", c.writer(),
			c.reader(), hint)
	case rule != nil:
		found, ok := c.try(w, rule)
		c.out.accept(found)
		if ok {
			add("PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", w.at,
				"%s has the property, and %s takes it as an additional one%s", c.writer(), c.reader(), hint)
		} else {
			add("PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", w.at,
				"%s has the property, and %s does not take it as an additional one%s", c.writer(), c.reader(), hint)
		}
	case w.kind == shapeNever:
		c.add("PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", w.at,
			"%s forbids the property, and %s does not name it", c.writer(), c.reader())
	default:
		add("PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", w.at,
			"%s has the property, and %s takes no property that it does not name%s", c.writer(), c.reader(), hint)
	}
}

// readersAlone judges a property that the reader names and the writer does not, by what the writer
// may have written under that name. The additive policy assumes that nothing else was written
// there; and if the reader is the older, the property was removed.
func (c *compat) readersAlone(o *sides, name string) {
	r := o.rProps[name]
	needed := slices.Contains(o.rNeeds, name)
	_, hasDefault := r.raw["default"]
	if c.policy == PolicyAdditive && !c.newIsReader {
		c.breaks("PROPERTY_REMOVED", r.at, "the old schema has the property, and the new schema does not name it%s",
			c.renamed(r, o.onlyOld, o.wProps))
		return
	}
	what := map[bool]string{true: "REQUIRED_PROPERTY", false: "OPTIONAL_PROPERTY"}[needed]
	if needed && hasDefault {
		what += "_WITH_DEFAULT"
	}
	if o.wModel.open {
		switch {
		case r.kind == shapeAny && !needed || r.kind == shapeAny && c.policy == PolicyStrict:
			c.add("PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", r.at, "%s names the property, and takes anything",
				c.reader())
		case c.policy == PolicyStrict:
			c.breaks(what+"_ADDED_TO_OPEN_CONTENT_MODEL", r.at,
				"%s has the property, and %s, which is open, allows anything under that name", c.reader(), c.writer())
		default:
			c.add(what+"_ADDED_TO_OPEN_CONTENT_MODEL", r.at, "%s has the property, and %s does not name it%s", c.reader(),
				c.writer(), demanded(needed))
		}
		return
	}
	if rule := o.wModel.rule(name); rule != nil {
		found, ok := c.try(rule, r)
		narrower := !ok && c.policy == PolicyAdditive && rule.kind == r.kind
		if !narrower {
			c.out.accept(found)
		}
		switch {
		case narrower: // of the allowed kind: assumed to be new, as in an open object
		case ok:
			c.add("PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", r.at,
				"%s has the property, and takes what %s allows for additional ones", c.reader(), c.writer())
		default:
			c.add("PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", r.at,
				"%s has the property, and does not take all that %s allows for additional ones", c.reader(), c.writer())
		}
	}
	c.add(what+"_ADDED_TO_UNOPEN_CONTENT_MODEL", r.at, "%s has the property, and %s does not name it%s", c.reader(),
		c.writer(), demanded(needed))
}

func demanded(needed bool) string {
	if needed {
		return "; it is required, so what was written without it cannot be read"
	}
	return ""
}

// renamed guesses which property replaced one that is gone: the only new one of the same kind.
func (c *compat) renamed(gone *shape, fresh []string, props map[string]*shape) string {
	as := ""
	for _, name := range fresh {
		if props[name].kind != gone.kind {
			continue
		}
		if as != "" {
			return ""
		}
		as = name
	}
	if as == "" {
		return ""
	}
	hint := "; perhaps it is now " + as
	from, ok1 := gone.raw["x-unit"].(string)
	to, ok2 := props[as].raw["x-unit"].(string)
	if ok1 && ok2 && from != to {
		hint += ", in " + to + " instead of " + from
	}
	return hint
}

// required compares which properties must be there. Confluent's rules look at
// properties that both declare; the additive policy at all names.
func (c *compat) required(o *sides) {
	for _, name := range o.rNeeds {
		r, both := o.rProps[name], o.rProps[name] != nil && o.wProps[name] != nil
		if slices.Contains(o.wNeeds, name) || !both && (c.policy == PolicyStrict || r != nil && o.wProps[name] == nil) {
			continue // properties that only the reader names were judged before
		}
		at := o.r.at + "/required/" + event.EscapePointer(name)
		if r != nil {
			if _, ok := r.raw["default"]; ok {
				c.add("REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED", at, "%s requires %q, with a default, and %s does not", c.reader(),
					name, c.writer())
				continue
			}
		}
		c.add("REQUIRED_ATTRIBUTE_ADDED", at, "%s requires %q, and %s does not", c.reader(), name, c.writer())
	}
	for _, name := range o.wNeeds {
		if o.wProps[name] != nil && o.rProps[name] != nil && !slices.Contains(o.rNeeds, name) {
			c.add("REQUIRED_ATTRIBUTE_REMOVED", o.r.at+"/required", "%s requires %q, and %s does not", c.writer(), name,
				c.reader())
		}
	}
}

// additional compares what is allowed beyond what is named. Under the additive
// policy additionalProperties and unevaluatedProperties stand for each other.
func (c *compat) additional(o *sides) {
	const additional, unevaluated = "additionalProperties", "unevaluatedProperties"
	from, to := c.w.keyword(o.w, additional), c.r.keyword(o.r, additional)
	fromElse, toElse := c.w.keyword(o.w, unevaluated), c.r.keyword(o.r, unevaluated)
	if c.policy == PolicyAdditive {
		if from == nil {
			from = fromElse
		}
		if to == nil {
			to = toElse
		}
	} else {
		c.rest(fromElse, toElse, o.r.at+"/"+unevaluated, "UNEVALUATED_PROPERTIES")
	}
	c.rest(from, to, o.r.at+"/"+additional, "ADDITIONAL_PROPERTIES")
}

// rest compares what is allowed beyond what is named: nil or anything, nothing
// at all, or a schema.
func (c *compat) rest(from, to *shape, at, name string) {
	closed := func(s *shape) bool { return s != nil && s.kind == shapeNever }
	free := func(s *shape) bool { return s == nil || s.kind == shapeAny }
	switch {
	case closed(from) && !closed(to):
		c.add(name+"_ADDED", at, "%s takes what is not named, and %s allows none", c.reader(), c.writer())
	case !closed(from) && closed(to):
		c.add(name+"_REMOVED", at, "%s takes nothing that is not named, and %s allows it", c.reader(), c.writer())
	case closed(from) || free(from) && free(to):
	case free(from):
		c.add(name+"_NARROWED", at, "%s takes only some of what is not named, and %s allows anything", c.reader(), c.writer())
	case free(to):
		c.add(name+"_EXTENDED", at, "%s takes anything that is not named, and %s allows some", c.reader(), c.writer())
	default:
		c.compare(from, to)
	}
}

// patternProperties compares schemas by pattern.
func (c *compat) patternProperties(o *sides) {
	for _, p := range slices.Sorted(maps.Keys(o.rModel.patterns)) {
		r := o.rModel.patterns[p]
		switch w := o.wModel.patterns[p]; {
		case w != nil:
			c.compare(w, r)
		case r.kind != shapeAny && (o.wModel.open || o.wModel.rest != nil):
			c.add("PATTERN_PROPERTY_ADDED", r.at, "%s holds names of this pattern to a schema, and %s does not", c.reader(),
				c.writer())
		}
	}
	for _, p := range slices.Sorted(maps.Keys(o.wModel.patterns)) {
		if w := o.wModel.patterns[p]; o.rModel.patterns[p] == nil {
			c.add("PATTERN_PROPERTY_REMOVED", w.at, "%s holds names of this pattern to a schema, and %s does not", c.writer(),
				c.reader())
		}
	}
}
