package etl

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// aggregated is one output column of an aggregate step, as the pipeline declares it.
type aggregated struct {
	column, function, from string
	of                     *columnType // declared type; nil: the type that the function yields by default
}

func aggregateFunctions() []string { return []string{"count", "sum", "min", "max", "avg"} }

func readAggregated(r *reader) (all []aggregated) {
	columns := r.list("columns")
	if len(columns) == 0 && r.members["columns"] != nil {
		r.wrong(r.members["columns"], `expected a list of {"column": …, "count": …} and the like`)
	}
	for _, n := range columns {
		c := n.object(r.problems)
		one := aggregated{column: c.text("column", true)}
		for _, f := range aggregateFunctions() {
			from := c.text(f, false)
			if from != "" && one.function != "" {
				r.wrong(n, "expected one of %s", strings.Join(aggregateFunctions(), ", "))
			}
			if from != "" {
				one.function, one.from = f, from
			}
		}
		if one.function == "" && c.members != nil {
			r.wrong(n, "expected one of %s", strings.Join(aggregateFunctions(), ", "))
		}
		if c.members["type"] != nil {
			of := readType(c, "type")
			if one.of = &of; one.function != "sum" && one.function != "avg" {
				r.wrong(c.members["type"], "a type is for sum and avg")
			}
		}
		c.end()
		all = append(all, one)
	}
	return all
}

// aggregate plans the step: its output has the columns of the key, then the aggregates.
func (s stepSpec) aggregate(columns []column, key keyColumns, room func() *budget) (
	[]column, func(time.Time) gather, error) {
	var next []column
	for _, k := range key {
		next = append(next, columns[k.at])
	}
	var plans []aggregation
	for _, a := range s.aggregates {
		plan := aggregation{function: a.function, at: -1}
		of := columnType{kind: kindInt64}
		if a.from != "*" || a.function != "count" {
			if plan.at = indexOf(columns, a.from); plan.at < 0 {
				return nil, nil, noColumn(columns, a.from)
			}
			var err error
			if plan.from, of, err = a.types(columns[plan.at]); err != nil {
				return nil, nil, err
			}
		}
		plan.column = column{a.column, of}
		plans, next = append(plans, plan), append(next, plan.column)
	}
	for i, c := range next {
		if indexOf(next, c.name) < i {
			return nil, nil, fmt.Errorf("two columns would be named %q", c.name)
		}
	}
	if len(next) == 0 {
		return nil, nil, errors.New("it makes no column: name by or columns")
	}
	return next, func(time.Time) gather {
		return &groups{key: key, plans: plans, all: map[string]*group{}, room: room()}
	}, nil
}

// types returns the type of the input column and that of the aggregate's result.
func (a aggregated) types(c column) (from, of columnType, err error) {
	from = c.of
	integer := slices.Contains([]kind{kindInt16, kindInt32, kindInt64}, from.kind)
	float := from.kind == kindFloat32 || from.kind == kindFloat64
	switch {
	case a.function == "count":
		return from, columnType{kind: kindInt64}, nil
	case a.function == "min" || a.function == "max":
		if from.kind == kindJSON {
			return from, of, fmt.Errorf("column %q is json, which has no order", c.name)
		}
		return from, from, nil
	case !integer && !float && from.kind != kindDecimal:
		return from, of, fmt.Errorf("column %q is %s: %s is for numbers", c.name, from, a.function)
	case float:
		of = columnType{kind: kindFloat64}
	case a.function == "sum" && integer:
		of = columnType{kind: kindInt64}
	case a.function == "sum":
		of = columnType{kindDecimal, mostDigits, from.scale}
	case integer:
		of = columnType{kindDecimal, mostDigits, 6}
	default: // six more digits behind the point, as far as those before it still fit
		of = columnType{kindDecimal, mostDigits, min(from.scale+6, mostDigits-from.precision+from.scale)}
	}
	if a.of == nil {
		return from, of, nil
	}
	switch a.of.kind {
	case kindDecimal, kindFloat64, kindFloat32:
		return from, *a.of, nil
	case kindInt16, kindInt32, kindInt64:
		if a.function == "sum" {
			return from, *a.of, nil
		}
	}
	return from, of, fmt.Errorf("column %q: %s is no type of a %s", a.column, a.of, a.function)
}

// aggregation is one column of a group, planned.
type aggregation struct {
	function string
	at       int // index of the input column; -1: rows are counted
	from     columnType
	column   column
}

// group is what is kept of all rows with one key.
type group struct {
	first  int64 // number of its first row
	key    row
	states []state
}

// state is the running value of one aggregation. Sums are exact, so the order of rows does not
// change them.
type state struct {
	count int64 // of values that are not null
	sum   *big.Rat
	best  string
}

type groups struct {
	key   keyColumns
	plans []aggregation
	all   map[string]*group
	room  *budget
}

func (g *groups) see(r row, number int64) error {
	key, _ := g.key.of(r)
	one := g.all[key]
	if one == nil {
		if err := g.room.take(2*len(key) + entryBytes*(1+len(g.key)+len(g.plans))); err != nil {
			return err
		}
		one = g.group(r, number)
		g.all[key] = one
	}
	for i, plan := range g.plans {
		if plan.at >= 0 && r[plan.at].null {
			continue
		}
		s := &one.states[i]
		s.count++
		switch plan.function {
		case "min", "max":
			text := r[plan.at].text
			if s.count > 1 {
				if c := plan.from.compare(text, s.best); c == 0 || (c < 0) != (plan.function == "min") {
					continue
				}
			}
			if err := g.room.take(max(0, len(text)-len(s.best))); err != nil {
				return err
			}
			s.best = text
		case "sum", "avg":
			v, ok := new(big.Rat).SetString(r[plan.at].text)
			if !ok {
				return fmt.Errorf("column %q is no finite number", plan.column.name)
			}
			s.sum.Add(s.sum, v)
		}
	}
	return nil
}

func (g *groups) group(r row, number int64) *group {
	one := &group{first: number, states: make([]state, len(g.plans))}
	for _, k := range g.key {
		c := r[k.at]
		if c.text == "-0" {
			c.text = "0"
		}
		one.key = append(one.key, c)
	}
	for i := range one.states {
		one.states[i].sum = new(big.Rat)
	}
	return one
}

func (g *groups) stays() bool { return false }

// made returns the groups in the order of their keys, nulls last. Without a key there is one group,
// even if there were no rows.
func (g *groups) made() ([]numbered, bool, error) {
	if len(g.key) == 0 && len(g.all) == 0 {
		g.all[""] = g.group(nil, 0)
	}
	ordered := make([]*group, 0, len(g.all))
	for _, one := range g.all {
		ordered = append(ordered, one)
	}
	slices.SortFunc(ordered, func(a, b *group) int {
		for i, k := range g.key {
			if c := k.of.compareCells(a.key[i], b.key[i]); c != 0 {
				return c
			}
		}
		return 0
	})
	out := make([]numbered, len(ordered))
	for n, one := range ordered {
		r := slices.Clone(one.key)
		for i, plan := range g.plans {
			c, err := plan.result(one.states[i])
			if err != nil {
				return nil, true, fmt.Errorf("column %q: %w", plan.column.name, err)
			}
			r = append(r, c)
		}
		out[n] = numbered{row: r, number: one.first}
	}
	return out, true, nil
}

func (a aggregation) result(s state) (cell, error) {
	switch {
	case a.function == "count":
		return cell{text: strconv.FormatInt(s.count, 10)}, nil
	case s.count == 0:
		return cell{null: true}, nil
	case a.function == "min" || a.function == "max":
		return cell{text: s.best}, nil
	case a.function == "avg":
		s.sum = new(big.Rat).Quo(s.sum, new(big.Rat).SetInt64(s.count))
	}
	text, err := a.column.of.rational(s.sum, a.function == "avg")
	return cell{text: text}, err
}

// rational returns v as a canonical value of the type. Floats take the nearest value. Other types
// must hold v exactly, unless round is set: then v is rounded once to the scale of the type, halves
// away from zero.
func (t columnType) rational(v *big.Rat, round bool) (string, error) {
	switch t.kind {
	case kindFloat32:
		f, _ := v.Float32()
		return t.canonical(strconv.FormatFloat(float64(f), 'g', -1, 32))
	case kindFloat64:
		f, _ := v.Float64()
		return t.canonical(strconv.FormatFloat(f, 'g', -1, 64))
	}
	text := v.FloatString(t.scale)
	if back, ok := new(big.Rat).SetString(text); !round && (!ok || back.Cmp(v) != 0) {
		return "", fmt.Errorf("it has more digits behind the point than %s", t)
	}
	return t.canonical(text)
}

// compareCells orders values, nulls last.
func (t columnType) compareCells(a, b cell) int {
	switch {
	case a.null && b.null:
		return 0
	case a.null:
		return 1
	case b.null:
		return -1
	}
	return t.compare(a.text, b.text)
}

// compare orders canonical texts: numbers and times by value, NaN above all, the
// rest by their bytes.
func (t columnType) compare(a, b string) int {
	switch t.kind {
	case kindInt16, kindInt32, kindInt64, kindDecimal:
		x, negative := strings.CutPrefix(a, "-")
		y, also := strings.CutPrefix(b, "-")
		switch {
		case negative && !also:
			return -1
		case also && !negative:
			return 1
		case negative:
			x, y = y, x
		}
		return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)) // of one scale: longer is larger
	case kindFloat32, kindFloat64:
		x, _ := strconv.ParseFloat(a, 64) // it is canonical
		y, _ := strconv.ParseFloat(b, 64)
		switch {
		case x != x && y != y:
			return 0
		case x != x:
			return 1
		case y != y:
			return -1
		}
		return cmp.Compare(x, y)
	case kindTimestampTZ:
		return strings.Compare(strings.TrimSuffix(a, "Z"), strings.TrimSuffix(b, "Z"))
	}
	return strings.Compare(a, b)
}
