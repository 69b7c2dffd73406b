package compat

// combined compares two schemas that both consist of several.
func (c *compat) combined(w, r *shape) {
	if w.way != r.way {
		wOnly, rOnly := len(w.parts) == 1, len(r.parts) == 1
		extends := r.way == "anyOf" || wOnly && (rOnly || r.way == "oneOf") || rOnly && w.way == "allOf"
		if !extends {
			c.add("COMBINED_TYPE_CHANGED", r.at, "%s is an %s, and %s an %s", c.writer(), w.way, c.reader(), r.way)
			return
		}
		c.add("COMBINED_TYPE_EXTENDED", r.at, "%s is an %s, and %s an %s", c.writer(), w.way, c.reader(), r.way)
	}
	from, to := distinct(w.parts), distinct(r.parts)
	switch {
	case len(from) < len(to) && r.way == "allOf":
		c.add("PRODUCT_TYPE_EXTENDED", r.at+"/"+r.way, "%s demands %d things, and %s %d", c.reader(), len(to), c.writer(),
			len(from))
	case len(from) < len(to):
		c.add("SUM_TYPE_EXTENDED", r.at+"/"+r.way, "%s has %d alternatives, and %s %d", c.reader(), len(to), c.writer(),
			len(from))
	case len(from) > len(to) && w.way == "allOf":
		c.add("PRODUCT_TYPE_NARROWED", r.at+"/"+r.way, "%s demands %d things, and %s %d", c.reader(), len(to), c.writer(),
			len(from))
	case len(from) > len(to):
		c.add("SUM_TYPE_NARROWED", r.at+"/"+r.way, "%s has %d alternatives, and %s %d", c.reader(), len(to), c.writer(),
			len(from))
	}
	m := c.match(from, to)
	for i, j := range m.of {
		if j >= 0 {
			c.out.accept(m.found[[2]int{i, j}])
		}
	}
	if m.size < min(len(from), len(to)) {
		at := r.at + "/" + r.way
		c.add("COMBINED_TYPE_SUBSCHEMAS_CHANGED", at, "only %d of the %d subschemas of %s have one of their own in %s "+
			"that takes them", m.size, len(from), c.writer(), c.reader())
		for i, j := range m.of { // say why, if it is clear which belongs to which
			if j < 0 && len(from) == len(to) {
				found, _ := c.try(from[i], to[i])
				c.out.accept(found)
			}
		}
	}
}

// distinct leaves out parts that are equal to an earlier one.
func distinct(parts []*shape) (out []*shape) {
	seen := map[string]bool{}
	for _, p := range parts {
		if p.text == "" || !seen[p.text] {
			out = append(out, p)
		}
		seen[p.text] = true
	}
	return out
}

// matching pairs writers' parts with readers' parts that accept them, each with one of its own, and
// as many as possible.
type matching struct {
	of    []int // for each writer's part the reader's, or -1
	size  int
	found map[[2]int]*outcome
}

func (c *compat) match(from, to []*shape) matching {
	m := matching{of: make([]int, len(from)), found: map[[2]int]*outcome{}}
	for i, w := range from {
		m.of[i] = -1
		for j, r := range to {
			if found, ok := c.try(w, r); ok {
				m.found[[2]int{i, j}] = found
			}
		}
	}
	owner := make([]int, len(to))
	for j := range owner {
		owner[j] = -1
	}
	var place func(i int, tried []bool) bool
	place = func(i int, tried []bool) bool { // finds a partner for i, by moving others to theirs
		for j := range to {
			if _, fits := m.found[[2]int{i, j}]; !fits || tried[j] {
				continue
			}
			tried[j] = true
			if owner[j] < 0 || place(owner[j], tried) {
				owner[j], m.of[i] = i, j
				return true
			}
		}
		return false
	}
	for i := range from {
		if place(i, make([]bool, len(to))) {
			m.size++
		}
	}
	return m
}
