package compat

import (
	"math/big"
	"strconv"
	"strings"
)

// items has the schemas of the items of an array.
type items struct {
	byPosition  []*shape
	all         *shape // of an array without positions
	rest        *shape // of the items after those
	unevaluated *shape
}

// items reads items, prefixItems and additionalItems as their draft defines them. additionalItems
// without positions has no effect, but a change of it is still compared, as Confluent's registry
// does.
func (s *shapes) items(of *shape) items {
	out := items{unevaluated: s.keyword(of, "unevaluatedItems")}
	keyword, after := "prefixItems", "items"
	list, isTuple := of.raw[keyword].([]any)
	if !isTuple {
		keyword, after = "items", "additionalItems"
		list, isTuple = of.raw[keyword].([]any)
	}
	for i, raw := range list {
		out.byPosition = append(out.byPosition, s.shape(raw, of.at+"/"+keyword+"/"+strconv.Itoa(i), 0))
	}
	if !isTuple {
		out.all = s.keyword(of, "items")
	}
	if isTuple || !s.newest {
		out.rest = s.keyword(of, after)
	}
	return out
}

// asTuple converts an array with one schema for all items to a tuple without positions. Confluent's
// registry does so only for a schema of 2019-09 or later that allows no items.
func (i items) asTuple(policy Policy, newest bool) items {
	if i.all != nil && (policy == PolicyAdditive || newest && i.all.kind == shapeNever) {
		i.all, i.rest = nil, i.all
	}
	return i
}

func (c *compat) arrays(w, r *shape) {
	from, to := c.w.items(w), c.r.items(r)
	if tuples := len(from.byPosition)+len(to.byPosition) > 0; tuples || c.policy == PolicyStrict {
		from, to = from.asTuple(c.policy, c.w.newest), to.asTuple(c.policy, c.r.newest)
	}
	c.compare(from.all, to.all)
	c.positions(from.byPosition, to.byPosition, from.beyond(), to.beyond())
	c.rest(from.rest, to.rest, r.at+"/additionalItems", "ADDITIONAL_ITEMS")
	c.rest(from.unevaluated, to.unevaluated, r.at+"/unevaluatedItems", "UNEVALUATED_ITEMS")
	for _, b := range []struct{ rule, keyword string }{
		{"MAX_ITEMS", "maxItems"}, {"MIN_ITEMS", "minItems"}, {"MAX_CONTAINS", "maxContains"},
		{"MIN_CONTAINS", "minContains"},
	} {
		c.bounded(r.at, b.rule, b.keyword, c.w.count(w, b.keyword), c.r.count(r, b.keyword))
	}
	unique := func(s *shape) bool { u, _ := s.raw["uniqueItems"].(bool); return u }
	switch at := r.at + "/uniqueItems"; {
	case unique(w) && !unique(r):
		c.add("UNIQUE_ITEMS_REMOVED", at, "%s demands that items differ, and %s does not", c.writer(), c.reader())
	case !unique(w) && unique(r):
		c.add("UNIQUE_ITEMS_ADDED", at, "%s demands that items differ, and %s does not", c.reader(), c.writer())
	}
	if c.policy == PolicyAdditive {
		c.compare(c.w.keyword(w, "contains"), c.r.keyword(r, "contains"))
	}
}

// count reads a bound of an array. From 2019-09 on, contains demands one item, and its bounds have
// no effect without it.
func (s *shapes) count(of *shape, keyword string) *big.Rat {
	if _, has := of.raw["contains"]; s.newest && strings.HasSuffix(keyword, "Contains") {
		if n := of.number(keyword); !has || n != nil || keyword == "maxContains" {
			return map[bool]*big.Rat{true: n}[has]
		}
		return big.NewRat(1, 1)
	}
	return of.number(keyword)
}

// beyond returns the schema of items after the positions.
func (i items) beyond() *shape {
	if i.rest == nil {
		return i.unevaluated
	}
	return i.rest
}

// positions compares tuples, in the way that objects are compared by name.
func (c *compat) positions(from, to []*shape, wRest, rRest *shape) {
	open := func(rest *shape) bool { return rest == nil || rest.kind == shapeAny }
	for i := range min(len(from), len(to)) {
		c.compare(from[i], to[i])
	}
	for i := len(to); i < len(from); i++ {
		w := from[i]
		switch {
		case open(rRest):
			c.add("ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL", w.at, "%s has this item, and %s takes anything here", c.writer(),
				c.reader())
		case rRest.kind != shapeNever:
			found, ok := c.try(w, rRest)
			c.out.accept(found)
			if ok {
				c.add("ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", w.at,
					"%s has this item, and %s takes it as an additional one", c.writer(), c.reader())
			} else {
				c.add("ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", w.at,
					"%s has this item, and %s does not take it as an additional one", c.writer(), c.reader())
			}
		case w.kind == shapeNever:
			c.add("ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", w.at, "%s forbids this item, and so does %s", c.writer(),
				c.reader())
		default:
			c.add("ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", w.at, "%s has this item, and %s takes none here", c.writer(),
				c.reader())
		}
	}
	for i := len(from); i < len(to); i++ {
		r := to[i]
		switch {
		case open(wRest) && r.kind == shapeAny:
			c.add("ITEM_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", r.at, "%s takes anything here", c.reader())
		case open(wRest):
			c.add("ITEM_ADDED_TO_OPEN_CONTENT_MODEL", r.at, "%s holds this item to a schema, and %s allows anything here",
				c.reader(), c.writer())
		case wRest.kind != shapeNever:
			found, ok := c.try(wRest, r)
			c.out.accept(found)
			if ok {
				c.add("ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", r.at,
					"%s takes here what %s allows for additional items", c.reader(), c.writer())
			} else {
				c.add("ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", r.at,
					"%s does not take here all that %s allows for additional items", c.reader(), c.writer())
			}
		default:
			c.add("ITEM_ADDED_TO_CLOSED_CONTENT_MODEL", r.at, "%s has this item, and %s allows none here", c.reader(),
				c.writer())
		}
	}
}
