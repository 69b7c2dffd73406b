package schema

import "strconv"

// tuple returns the schemas of an array's items: by position, or of all, or of
// those after the positions.
func (s *shapes) tuple(of *shape) (byPosition []*shape, all, rest *shape) {
	keyword := "prefixItems"
	list, isTuple := of.raw[keyword].([]any)
	if !isTuple {
		keyword = "items"
		list, isTuple = of.raw[keyword].([]any)
	}
	if !isTuple {
		return nil, s.keyword(of, "items"), nil
	}
	for i, raw := range list {
		byPosition = append(byPosition, s.shape(raw, of.at+"/"+keyword+"/"+strconv.Itoa(i), 0))
	}
	after := "additionalItems"
	if keyword == "prefixItems" {
		after = "items"
	}
	if rest = s.keyword(of, after); rest == nil {
		rest = s.keyword(of, "unevaluatedItems")
	}
	return byPosition, nil, rest
}

func (c *compat) arrays(w, r *shape) {
	from, wAll, wRest := c.w.tuple(w)
	to, rAll, rRest := c.r.tuple(r)
	switch {
	case len(from) == 0 && len(to) == 0:
		c.compare(wAll, rAll)
	default:
		if wAll != nil { // all items alike is a tuple without positions
			wRest = wAll
		}
		if rAll != nil {
			rRest = rAll
		}
		c.positions(from, to, wRest, rRest)
		c.rest(wRest, rRest, r.at+"/additionalItems", "ADDITIONAL_ITEMS")
	}
	for _, b := range []struct{ rule, keyword string }{
		{"MAX_ITEMS", "maxItems"}, {"MIN_ITEMS", "minItems"}, {"MAX_CONTAINS", "maxContains"}, {"MIN_CONTAINS", "minContains"},
	} {
		c.bounded(r.at, b.rule, b.keyword, w.number(b.keyword), r.number(b.keyword))
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

// positions compares tuples, as objects are compared by name.
func (c *compat) positions(from, to []*shape, wRest, rRest *shape) {
	open := func(rest *shape) bool { return rest == nil || rest.kind == shapeAny }
	for i := range min(len(from), len(to)) {
		c.compare(from[i], to[i])
	}
	for i := len(to); i < len(from); i++ {
		w := from[i]
		switch {
		case open(rRest):
			c.add("ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL", w.at, "%s has this item, and %s takes anything here", c.writer(), c.reader())
		case rRest.kind != shapeNever:
			found, ok := c.try(w, rRest)
			c.found = append(c.found, found...)
			if ok {
				c.add("ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", w.at, "%s has this item, and %s takes it as an additional one", c.writer(), c.reader())
			} else {
				c.add("ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", w.at, "%s has this item, and %s does not take it as an additional one", c.writer(), c.reader())
			}
		case w.kind == shapeNever:
			c.add("ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", w.at, "%s forbids this item, and so does %s", c.writer(), c.reader())
		default:
			c.add("ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", w.at, "%s has this item, and %s takes none here", c.writer(), c.reader())
		}
	}
	for i := len(from); i < len(to); i++ {
		r := to[i]
		switch {
		case open(wRest) && r.kind == shapeAny:
			c.add("ITEM_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL", r.at, "%s takes anything here", c.reader())
		case open(wRest):
			c.add("ITEM_ADDED_TO_OPEN_CONTENT_MODEL", r.at, "%s holds this item to a schema, and %s allows anything here", c.reader(), c.writer())
		case wRest.kind != shapeNever:
			found, ok := c.try(wRest, r)
			c.found = append(c.found, found...)
			if ok {
				c.add("ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", r.at, "%s takes here what %s allows for additional items", c.reader(), c.writer())
			} else {
				c.add("ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", r.at, "%s does not take here all that %s allows for additional items", c.reader(), c.writer())
			}
		default:
			c.add("ITEM_ADDED_TO_CLOSED_CONTENT_MODEL", r.at, "%s has this item, and %s allows none here", c.reader(), c.writer())
		}
	}
}
