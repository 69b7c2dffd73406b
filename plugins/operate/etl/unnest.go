package etl

import (
	"fmt"
	"slices"
)

// unnestSpec configures a step that makes a row of each element of a JSON list.
type unnestSpec struct {
	columns         []column
	values          bool // elements are values of one column, and not objects
	keep            bool // a row without elements stays, with nulls
	missing, ignore bool // as in objectReader
}

func (s *stepSpec) readUnnest(r *reader) {
	s.column = r.text("column", true)
	u := unnestSpec{keep: r.oneOf("empty", "drop", "keep") == "keep"}
	if one := r.member("value"); one != nil {
		c := one.object(r.problems)
		u.values, u.columns = true, []column{{c.text("name", true), readType(c, "type")}}
		c.end()
		if r.member("columns") != nil {
			r.wrong(r.n, `expected either "columns" or "value"`)
		}
	} else if u.columns = readColumns(r); r.members != nil {
		u.missing = r.oneOf("missing", "refuse", "null") == "null"
		u.ignore = r.oneOf("unknown", "refuse", "ignore") == "ignore"
	}
	s.onFailure = r.oneOf("on_failure", onFail, onDrop, onReject)
	r.end()
	s.unnest = u
}

// spread processes a row like a step, and returns the rows that it makes of it, or why it failed.
type spread func(row) (out []row, failed string)

func (s stepSpec) planUnnest(columns []column) (spread, []column, error) {
	at := indexOf(columns, s.column)
	if at < 0 {
		return nil, nil, noColumn(columns, s.column)
	}
	if of := columns[at].of; of.kind != kindJSON {
		return nil, nil, fmt.Errorf("column %q is %s: a list is json", s.column, of)
	}
	next := append(slices.Delete(slices.Clone(columns), at, at+1), s.unnest.columns...)
	for i, c := range next {
		if indexOf(next, c.name) < i {
			return nil, nil, fmt.Errorf("two columns would be named %q", c.name)
		}
	}
	return func(r row) ([]row, string) {
		base := slices.Delete(slices.Clone(r), at, at+1)
		elements, failed := s.elements(r[at])
		if failed != "" {
			return nil, failed
		}
		if len(elements) == 0 && s.unnest.keep {
			for range s.unnest.columns {
				base = append(base, cell{null: true})
			}
			return []row{base}, ""
		}
		out := make([]row, len(elements))
		for i, n := range elements {
			cells, err := s.unnest.cells(n)
			if err != nil {
				return nil, fmt.Sprintf("column %q: element %d: %v", s.column, i+1, err)
			}
			out[i] = append(slices.Clone(base), cells...)
		}
		return out, ""
	}, next, nil
}

// elements returns those of a list; null has none.
func (s stepSpec) elements(c cell) ([]*node, string) {
	if c.null {
		return nil, ""
	}
	n, err := parseData("it", []byte(c.text))
	if err != nil {
		return nil, fmt.Sprintf("column %q: %v", s.column, err)
	}
	switch v := n.value.(type) {
	case nil:
		return nil, ""
	case []*node:
		return v, ""
	}
	return nil, fmt.Sprintf("column %q is no list", s.column)
}

func (u unnestSpec) cells(n *node) (row, error) {
	if u.values {
		c, err := u.columns[0].of.fromJSON(n)
		return row{c}, err
	}
	return objectCells(n, u.columns, u.missing, u.ignore)
}
