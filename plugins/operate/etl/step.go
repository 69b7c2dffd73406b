package etl

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
)

// Values of on_failure: what happens to a row that a step fails on.
const (
	onFail   = "fail"
	onDrop   = "drop"
	onReject = "reject"
)

// Values of keep: which of several rows with the same key stays.
const (
	keepFirst = "first"
	keepLast  = "last"
)

const stepKinds = "filter, derive, rename, select, validate, dedupe, unique, aggregate, check, lookup and unnest"

// stepSpec is a step as the file describes it.
type stepSpec struct {
	at        *node
	kind      string // one of stepKinds
	onFailure string

	mapping  *bloblang.Executor // filter, derive
	code     string             // of the mapping
	column   string             // derive, validate
	of       columnType         // derive
	renames  map[string]string
	selected []string

	by         []string // dedupe, unique, aggregate
	keep       string   // dedupe
	aggregates []aggregated
	check      checkSpec
	lookup     *lookupSpec
	unnest     unnestSpec

	notNull  bool
	min, max *big.Rat
	pattern  *regexp.Regexp
	oneOf    []string // values of a text
}

// readStep reads a step, an object with one member: {"filter": …}, {"derive": …} and so on.
func (p *Pipeline) readStep(n *node, problems *[]Problem) stepSpec {
	s := stepSpec{at: n, onFailure: onFail}
	r := n.object(problems)
	if len(r.members) != 1 {
		if r.members != nil {
			r.wrong(n, "expected one of %s", stepKinds)
		}
		return s
	}
	s.kind = sortedKeys(r.members)[0]
	at := r.members[s.kind]
	switch s.kind {
	case "filter":
		s.mapping, s.code = readMapping(r, at)
	case "derive":
		d := at.object(problems)
		s.column, s.of = d.text("column", true), readType(d, "type")
		if m := d.member("mapping"); m != nil {
			s.mapping, s.code = readMapping(d, m)
		} else if d.members != nil {
			r.wrong(at, `"mapping" is missing`)
		}
		s.onFailure = d.oneOf("on_failure", onFail, onDrop, onReject)
		d.end()
	case "rename":
		s.renames = readRenames(r, at)
	case "select":
		s.selected = readNames(r, s.kind)
		if len(s.selected) == 0 {
			r.wrong(at, "expected the names of columns")
		}
	case "validate":
		s.readValidation(at.object(problems))
	case "unnest":
		s.readUnnest(at.object(problems))
	case "lookup":
		p.readLookup(&s, at.object(problems))
	case "check":
		s.readCheck(at.object(problems))
	case "dedupe", "unique", "aggregate":
		s.readGather(at.object(problems))
	default:
		r.wrong(at, "there is no such step: expected one of %s", stepKinds)
	}
	return s
}

// readNames reads a list of names of columns.
func readNames(r *reader, field string) (all []string) {
	for _, item := range r.list(field) {
		name, is := item.value.(string)
		if !is || slices.Contains(all, name) {
			r.wrong(item, "expected the name of a column, each once")
		}
		all = append(all, name)
	}
	return all
}

// readGather reads a step that gathers.
func (s *stepSpec) readGather(r *reader) {
	s.by = readNames(r, "by")
	if len(s.by) == 0 && (s.kind == "unique" || r.members["by"] != nil) {
		r.wrong(r.n, `expected the names of columns in "by"`)
	}
	switch s.kind {
	case "dedupe":
		s.keep = r.oneOf("keep", keepFirst, keepLast)
	case "unique":
		s.onFailure = r.oneOf("on_failure", onFail, onDrop, onReject)
	case "aggregate":
		s.aggregates = readAggregated(r)
	}
	r.end()
}

// readMapping compiles a mapping. It can use nothing but the row: no files, no environment.
func readMapping(r *reader, n *node) (*bloblang.Executor, string) {
	code, is := n.value.(string)
	if !is || strings.TrimSpace(code) == "" {
		r.wrong(n, "expected a Bloblang mapping")
		return nil, ""
	}
	exe, err := bloblang.GlobalEnvironment().OnlyPure().Parse(code)
	if err != nil {
		r.wrong(n, "it is no Bloblang mapping that sees the row alone: %v", err)
		return nil, ""
	}
	return exe, code
}

func readRenames(r *reader, n *node) map[string]string {
	members, is := n.value.(map[string]*node)
	if !is || len(members) == 0 {
		r.wrong(n, `expected {"OLD": "NEW"}`)
		return nil
	}
	all := map[string]string{}
	for name, to := range members {
		text, is := to.value.(string)
		if !is || text == "" {
			r.wrong(to, "expected the new name")
		}
		all[name] = text
	}
	return all
}

func (s *stepSpec) readValidation(r *reader) {
	s.column, s.notNull = r.text("column", true), r.flag("not_null")
	s.min, s.max = readBound(r, "min"), readBound(r, "max")
	if pattern := r.text("pattern", false); pattern != "" {
		var err error
		if s.pattern, err = regexp.Compile(pattern); err != nil {
			r.wrong(r.members["pattern"], "%v", err)
		}
	}
	for _, n := range r.list("one_of") {
		v, is := n.value.(string)
		if !is || slices.Contains(s.oneOf, v) {
			r.wrong(n, "expected texts, each once")
		}
		s.oneOf = append(s.oneOf, v)
	}
	if r.members["one_of"] != nil && len(s.oneOf) == 0 {
		r.wrong(r.members["one_of"], "expected texts, each once")
	}
	s.onFailure = r.oneOf("on_failure", onFail, onDrop, onReject)
	r.end()
	if r.members != nil && !s.notNull && s.min == nil && s.max == nil && s.pattern == nil && s.oneOf == nil {
		r.wrong(r.n, "it asks for nothing: expected not_null, min, max, pattern or one_of")
	}
	if s.min != nil && s.max != nil && s.min.Cmp(s.max) > 0 {
		r.wrong(r.n, "no value is in it: min is above max")
	}
}

func readBound(r *reader, name string) *big.Rat {
	n := r.member(name)
	if n == nil {
		return nil
	}
	number, is := n.value.(json.Number)
	v, ok := new(big.Rat).SetString(string(number))
	if !is || !ok {
		r.wrong(n, "expected a number")
		return nil
	}
	return v
}

// failure tells at which step a row failed, and why. The reason names the column, not the value.
type failure struct {
	step      int
	reason    string
	onFailure string
}

// step processes a row. It returns the changed row, or tells that the row is filtered, or why it
// failed.
type step func(row) (out row, filtered bool, failed string)

// planned are the steps of a pipeline, compiled for the columns of its source.
type planned struct {
	specs   []stepSpec
	steps   []step                   // nil for steps that gather or spread
	begin   []func(time.Time) gather // nil for steps that do not gather
	spreads []spread                 // nil for steps that make at most one row of one
	between [][]column               // the columns before each step, and after the last
	notes   []string                 // what the source tells a user who plans
}

func (p *planned) columns() []column { return p.between[len(p.between)-1] }

// plan compiles the steps for the columns of the source, and returns what is wrong with them.
func (p *Pipeline) plan(columns []column) (*planned, []Problem) {
	out := &planned{specs: p.steps, between: [][]column{columns}}
	var problems []Problem
	for _, s := range p.steps {
		var do step
		var begin func(time.Time) gather
		var next []column
		var err error
		var rows spread
		if s.kind == "unnest" {
			rows, next, err = s.planUnnest(columns)
		} else if s.lookup != nil {
			do, next, err = s.compileLookup(columns, p.tableOf(s.lookup))
		} else if s.gathers() {
			next, begin, err = s.gather(columns, p.memory)
		} else {
			do, next, err = s.compile(columns)
		}
		if err != nil {
			problems = append(problems, s.at.problem("%v", err).Problems...)
			return nil, problems // the columns after it are not known
		}
		columns = next
		out.steps, out.begin = append(out.steps, do), append(out.begin, begin)
		out.spreads, out.between = append(out.spreads, rows), append(out.between, columns)
	}
	return out, problems
}

// run passes a row through the steps of a segment. filteredBy is the index of the step that
// filtered it, or -1.
func (p *planned) run(r row, of segment) (out row, filteredBy int, failed *failure) {
	for i := of.from; i < of.to; i++ {
		next, filtered, reason := p.steps[i](r)
		switch {
		case filtered:
			return nil, i, nil
		case reason != "":
			return r, -1, &failure{i, reason, p.specs[i].onFailure}
		}
		r = next
	}
	return r, -1, nil
}

// compile compiles a step for the columns before it, and returns those after it.
func (s stepSpec) compile(columns []column) (step, []column, error) {
	missing := func(name string) error { return noColumn(columns, name) }
	switch s.kind {
	case "filter":
		return s.filter(columns), columns, nil
	case "derive":
		return s.derive(columns)
	case "rename":
		next := slices.Clone(columns)
		for _, old := range sortedKeys(s.renames) {
			i := indexOf(columns, old)
			if i < 0 {
				return nil, nil, missing(old)
			}
			next[i].name = s.renames[old]
		}
		for i, c := range next {
			if indexOf(next, c.name) < i {
				return nil, nil, fmt.Errorf("two columns would be named %q", c.name)
			}
		}
		return func(r row) (row, bool, string) { return r, false, "" }, next, nil
	case "select":
		var next []column
		var from []int
		for _, name := range s.selected {
			i := indexOf(columns, name)
			if i < 0 {
				return nil, nil, missing(name)
			}
			from, next = append(from, i), append(next, columns[i])
		}
		return func(r row) (row, bool, string) {
			out := make(row, len(from))
			for to, i := range from {
				out[to] = r[i]
			}
			return out, false, ""
		}, next, nil
	}
	i := indexOf(columns, s.column)
	if i < 0 {
		return nil, nil, missing(s.column)
	}
	do, err := s.validate(i, columns[i])
	return do, columns, err
}
