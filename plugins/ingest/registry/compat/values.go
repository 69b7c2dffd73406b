package compat

import (
	"encoding/json"
	"math/big"
	"slices"

	"weir/internal/platform/schemadoc"
	"weir/internal/platform/text"
)

// number returns the value of a numeric keyword, or nil.
func (s *shape) number(keyword string) *big.Rat {
	n, ok := s.raw[keyword].(json.Number)
	if !ok {
		return nil
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return nil
	}
	return r
}

// limit returns a numeric bound. In draft 4, a boolean beside it makes it exclusive.
func (s *shape) limit(keyword, exclusive string) (inclusiveLimit, exclusiveLimit *big.Rat) {
	if is, ok := s.raw[exclusive].(bool); ok {
		if is {
			return nil, s.number(keyword)
		}
		return s.number(keyword), nil
	}
	return s.number(keyword), s.number(exclusive)
}

// bounded compares a bound. A minLength, minItems or minProperties of 0 has no effect, which
// Confluent's registry overlooks.
func (c *compat) bounded(at, name, keyword string, w, r *big.Rat) {
	at += "/" + keyword
	none := func(b *big.Rat) bool {
		return c.policy == PolicyAdditive && b != nil && b.Sign() == 0 &&
			slices.Contains([]string{"minLength", "minItems", "minProperties"}, keyword)
	}
	if none(w) {
		w = nil
	}
	if none(r) {
		r = nil
	}
	switch {
	case w == nil && r == nil:
	case w == nil:
		c.add(name+"_ADDED", at, "%s bounds what %s does not", c.reader(), c.writer())
	case r == nil:
		c.add(name+"_REMOVED", at, "%s bounds what %s does not", c.writer(), c.reader())
	default:
		n := r.Cmp(w)
		if n == 0 {
			return
		}
		rule := name + "_INCREASED"
		if n < 0 {
			rule = name + "_DECREASED"
		}
		c.add(rule, at, "the bound is %s in %s and %s in %s", short(w), c.writer(), short(r), c.reader())
	}
}

func short(r *big.Rat) string {
	f, _ := r.Float64()
	raw, err := json.Marshal(f)
	if err != nil {
		return r.RatString()
	}
	return string(raw)
}

func (c *compat) strings(w, r *shape) {
	c.bounded(r.at, "MAX_LENGTH", "maxLength", w.number("maxLength"), r.number("maxLength"))
	c.bounded(r.at, "MIN_LENGTH", "minLength", w.number("minLength"), r.number("minLength"))
	c.word("PATTERN", "pattern", w, r)
	if c.policy == PolicyAdditive {
		c.word("FORMAT", "format", w, r)
	}
}

// word compares a keyword whose values are either equal or not.
func (c *compat) word(name, keyword string, w, r *shape) {
	from, ok1 := w.raw[keyword].(string)
	to, ok2 := r.raw[keyword].(string)
	at := r.at + "/" + keyword
	switch {
	case ok2 && !ok1:
		c.add(name+"_ADDED", at, "%s demands %s, and %s does not", c.reader(), text.Shorten(to), c.writer())
	case ok1 && !ok2:
		c.add(name+"_REMOVED", at, "%s demands %s, and %s does not", c.writer(), text.Shorten(from), c.reader())
	case from != to:
		c.add(name+"_CHANGED", at, "it is %s in %s and %s in %s", text.Shorten(from), c.writer(), text.Shorten(to),
			c.reader())
	}
}

func (c *compat) numbers(w, r *shape) {
	wMax, wExMax := w.limit("maximum", "exclusiveMaximum")
	rMax, rExMax := r.limit("maximum", "exclusiveMaximum")
	wMin, wExMin := w.limit("minimum", "exclusiveMinimum")
	rMin, rExMin := r.limit("minimum", "exclusiveMinimum")
	c.bounded(r.at, "MAXIMUM", "maximum", wMax, rMax)
	c.bounded(r.at, "MINIMUM", "minimum", wMin, rMin)
	c.bounded(r.at, "EXCLUSIVE_MAXIMUM", "exclusiveMaximum", wExMax, rExMax)
	c.bounded(r.at, "EXCLUSIVE_MINIMUM", "exclusiveMinimum", wExMin, rExMin)
	c.multiples(w.number("multipleOf"), r.number("multipleOf"), r.at+"/multipleOf")
	switch {
	case w.integer && !r.integer:
		c.add("TYPE_EXTENDED", r.at+"/type", "%s takes any number, and %s allows integers", c.reader(), c.writer())
	case !w.integer && r.integer:
		c.add("TYPE_NARROWED", r.at+"/type", "%s takes only integers, and %s allows any number", c.reader(), c.writer())
	}
}

func (c *compat) multiples(w, r *big.Rat, at string) {
	whole := func(a, b *big.Rat) bool { return b.Sign() != 0 && new(big.Rat).Quo(a, b).IsInt() }
	switch {
	case w == nil && r == nil:
	case w == nil:
		c.add("MULTIPLE_OF_ADDED", at, "%s takes only multiples of %s", c.reader(), short(r))
	case r == nil:
		c.add("MULTIPLE_OF_REMOVED", at, "%s allows only multiples of %s", c.writer(), short(w))
	case w.Cmp(r) == 0:
	case whole(r, w):
		c.add("MULTIPLE_OF_EXPANDED", at, "it is %s in %s and %s in %s", short(w), c.writer(), short(r), c.reader())
	case whole(w, r):
		c.add("MULTIPLE_OF_REDUCED", at, "it is %s in %s and %s in %s", short(w), c.writer(), short(r), c.reader())
	default:
		c.add("MULTIPLE_OF_CHANGED", at, "it is %s in %s and %s in %s", short(w), c.writer(), short(r), c.reader())
	}
}

func (c *compat) enums(w, r *shape) {
	have := func(values []any) map[string]bool {
		set := map[string]bool{}
		for _, v := range values {
			set[canonicalValue(v)] = true
		}
		return set
	}
	from, to := have(w.values), have(r.values)
	lacks := func(set, in map[string]bool) (some string) {
		for v := range set {
			if !in[v] && (some == "" || v < some) {
				some = v
			}
		}
		return some
	}
	at := r.at + "/enum"
	gone, fresh := lacks(from, to), lacks(to, from)
	switch {
	case gone == "" && fresh == "":
	case gone == "":
		c.add("ENUM_ARRAY_EXTENDED", at, "%s takes more values, such as %s", c.reader(), text.Shorten(fresh))
	case fresh == "":
		c.add("ENUM_ARRAY_NARROWED", at, "%s allows %s, and %s does not take it", c.writer(), text.Shorten(gone), c.reader())
	default:
		c.add("ENUM_ARRAY_CHANGED", at, "%s allows %s, and %s does not take it", c.writer(), text.Shorten(gone), c.reader())
	}
}

// canonicalValue returns the JSON of a value, in which equal numbers are written alike.
func canonicalValue(v any) string {
	if n, ok := v.(json.Number); ok {
		if r, ok := new(big.Rat).SetString(n.String()); ok {
			return r.RatString()
		}
	}
	return schemadoc.Canonical(v)
}

// nots compares what is forbidden: the reader may forbid no more than the writer, so the two are
// swapped.
func (c *compat) nots(w, r *shape) {
	swapped := *c
	swapped.w, swapped.r, swapped.newIsReader = c.r, c.w, !c.newIsReader
	if _, ok := swapped.try(r.parts[0], w.parts[0]); ok {
		c.add("NOT_TYPE_NARROWED", r.at+"/not", "%s forbids no more than %s", c.reader(), c.writer())
	} else {
		c.add("NOT_TYPE_EXTENDED", r.at+"/not", "%s forbids what %s allows", c.reader(), c.writer())
	}
}
