package etl

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
)

// Lineage tells where the values of each column of the sinks come from.
type Lineage struct {
	Pipeline string          `json:"pipeline"`
	Sources  []LineageSource `json:"sources"`
	Columns  []LineageColumn `json:"columns"`
	// Rows are the steps that leave out or make rows, and the columns that they depend on.
	Rows  []LineageStep `json:"rows"`
	Sinks []string      `json:"sinks"`
}

// LineageSource is a source and the name by which Origin refers to it.
type LineageSource struct {
	Name string `json:"name"`
	Is   string `json:"is"`
}

// LineageColumn is a column of the sinks.
type LineageColumn struct {
	Column string `json:"column"`
	Type   string `json:"type"`
	// From are the columns that its values are computed from. It is empty when the values are
	// constants of a mapping, or counts of rows.
	From []Origin `json:"from"`
	// By are the columns that select its values: the key of a lookup, or of the groups of an
	// aggregate.
	By []Origin `json:"by"`
	// Steps are the steps that computed it, in order.
	Steps []LineageStep `json:"steps"`
	// Constant tells that it depends on no column and no row.
	Constant bool `json:"constant"`
}

// LineageStep is a step; the first has the number 1.
type LineageStep struct {
	Step    int      `json:"step"`
	Kind    string   `json:"kind"`
	Columns []Origin `json:"columns,omitempty"`
}

// Origin is a column of a source.
type Origin struct {
	Source string `json:"source"`
	Column string `json:"column"`
}

// Lineage asks the sources for their columns, checks the steps against them, and returns where the
// columns of the sinks come from. It reads no row of a source and writes nothing.
func (p *Pipeline) Lineage(ctx context.Context) (*Lineage, error) {
	asked, columns, planned, err := p.ask(ctx)
	if err != nil {
		return nil, err
	}
	return asked.lineage(columns, planned), nil
}

// strand is the origin of one column while lineage follows it through the steps.
type strand struct {
	from, by map[Origin]bool
	steps    []LineageStep
	rows     bool // it counts rows, and so is not constant
}

// strandOf returns the origin of a column that a step computes from others.
func strandOf(at LineageStep, others ...strand) strand {
	one := strand{from: map[Origin]bool{}, by: map[Origin]bool{}}
	for _, s := range others {
		maps.Copy(one.from, s.from)
		maps.Copy(one.by, s.by)
		one.rows = one.rows || s.rows
		for _, step := range s.steps {
			if !slices.ContainsFunc(one.steps, func(has LineageStep) bool { return has.Step == step.Step }) {
				one.steps = append(one.steps, step)
			}
		}
	}
	slices.SortFunc(one.steps, func(a, b LineageStep) int { return cmp.Compare(a.Step, b.Step) })
	if at.Step > 0 {
		one.steps = append(one.steps, at)
	}
	return one
}

// chosenBy adds the columns that select the values of a strand.
func (s strand) chosenBy(others ...strand) {
	for _, o := range others {
		maps.Copy(s.by, o.from)
		maps.Copy(s.by, o.by)
	}
}

func sorted(origins map[Origin]bool) []Origin {
	all := make([]Origin, 0, len(origins))
	for o := range origins {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Origin) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Column, b.Column))
	})
	return all
}

func sourceStrand(column string, sources ...string) strand {
	one := strandOf(LineageStep{})
	for _, s := range sources {
		one.from[Origin{s, column}] = true
	}
	return one
}

// lineage follows the columns of the source through the steps to the sinks.
func (p *Pipeline) lineage(columns []column, planned *planned) *Lineage {
	l := &Lineage{Pipeline: p.Name, Rows: []LineageStep{}}
	parts := []source{p.source}
	if u, is := p.source.(unionSource); is {
		parts = u.parts
	}
	var all []string
	for i, s := range parts {
		name := "source"
		if len(parts) > 1 {
			name = fmt.Sprintf("source %d", i+1)
		}
		all = append(all, name)
		l.Sources = append(l.Sources, LineageSource{name, s.describe()})
	}
	var strands []strand
	for _, c := range columns {
		strands = append(strands, sourceStrand(c.name, all...))
	}
	for i, s := range p.steps {
		if s.lookup != nil {
			l.Sources = append(l.Sources, LineageSource{s.lookup.called(), s.lookup.source.describe()})
		}
		t := traced{spec: s, at: LineageStep{Step: i + 1, Kind: s.kind}, before: planned.between[i], strands: strands}
		strands = t.through(planned.between[i+1])
		if looked := t.looksAt(); looked != nil {
			l.Rows = append(l.Rows, LineageStep{Step: i + 1, Kind: s.kind,
				Columns: sorted(strandOf(LineageStep{}, looked...).from)})
		}
	}
	for i, c := range planned.columns() {
		s := strands[i]
		l.Columns = append(l.Columns, LineageColumn{Column: c.name, Type: c.of.String(), From: sorted(s.from),
			By: sorted(s.by), Steps: append([]LineageStep{}, s.steps...), Constant: len(s.from)+len(s.by) == 0 && !s.rows})
	}
	for _, t := range p.sinks {
		l.Sinks = append(l.Sinks, t.String())
	}
	return l
}

// traced is a step and the columns before it with their origins.
type traced struct {
	spec    stepSpec
	at      LineageStep
	before  []column
	strands []strand
}

// of returns the strands of these columns.
func (t traced) of(columns ...string) (all []strand) {
	for _, name := range columns {
		all = append(all, t.strands[indexOf(t.before, name)])
	}
	return all
}

// through returns the strands of the columns after the step.
func (t traced) through(next []column) []strand {
	out := make([]strand, len(next))
	for i, c := range next {
		out[i] = t.made(i, c)
	}
	return out
}

// made returns the strand of column i after the step.
func (t traced) made(i int, c column) strand {
	s := t.spec
	switch s.kind {
	case "derive":
		if c.name == s.column {
			return strandOf(t.at, t.of(readsOf(s.code, t.before)...)...)
		}
	case "rename":
		if t.before[i].name != c.name {
			return strandOf(t.at, t.strands[i])
		}
		return t.strands[i]
	case "unnest":
		if i >= len(t.before)-1 { // the columns that unnest adds
			return strandOf(t.at, t.of(s.column)...)
		}
	case "lookup":
		if i >= len(t.before) {
			return t.lookedUp(c.name)
		}
	case "aggregate":
		if i >= len(s.by) {
			return t.aggregated(s.aggregates[i-len(s.by)])
		}
	}
	return t.of(c.name)[0]
}

// called returns the source's name in a lineage, which differs from those of the pipeline's own
// sources.
func (l *lookupSpec) called() string { return "lookup " + l.name }

func (t traced) lookedUp(name string) strand {
	l := t.spec.lookup
	for theirs, here := range l.take {
		if here != name {
			continue
		}
		one := strandOf(t.at, sourceStrand(theirs, l.called()))
		one.chosenBy(t.of(sortedKeys(l.on)...)...)
		for _, key := range l.their() {
			one.chosenBy(sourceStrand(key, l.called()))
		}
		return one
	}
	return strandOf(t.at)
}

func (t traced) aggregated(a aggregated) strand {
	at := t.at
	at.Kind += " " + a.function
	one := strandOf(at)
	if a.from != "*" || a.function != "count" {
		one = strandOf(at, t.of(a.from)...)
	}
	one.rows = one.rows || a.function == "count"
	one.chosenBy(t.of(t.spec.by...)...)
	return one
}

// looksAt returns the strands that decide which rows the step leaves out or makes; nil: the step
// passes all rows.
func (t traced) looksAt() []strand {
	s := t.spec
	leavesOut := s.onFailure == onDrop || s.onFailure == onReject
	switch s.kind {
	case "filter":
		return t.of(readsOf(s.code, t.before)...)
	case "derive":
		if leavesOut {
			return t.of(readsOf(s.code, t.before)...)
		}
	case "validate":
		if leavesOut {
			return t.of(s.column)
		}
	case "unnest":
		return t.of(s.column)
	case "lookup":
		if leavesOut {
			return t.of(sortedKeys(s.lookup.on)...)
		}
	case "unique":
		if leavesOut {
			return t.of(s.by...)
		}
	case "dedupe":
		if s.by == nil {
			return t.strands
		}
		return t.of(s.by...)
	case "aggregate":
		return append([]strand{}, t.of(s.by...)...)
	}
	return nil
}
