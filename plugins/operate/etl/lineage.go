package etl

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
)

// Lineage says of each column that the sinks get where its values come from.
type Lineage struct {
	Pipeline string          `json:"pipeline"`
	Sources  []LineageSource `json:"sources"`
	Columns  []LineageColumn `json:"columns"`
	// Rows are the steps that choose rows, or make others of them, and the columns
	// that they look at.
	Rows  []LineageStep `json:"rows"`
	Sinks []string      `json:"sinks"`
}

// LineageSource is a source by the name that columns call it by.
type LineageSource struct {
	Name string `json:"name"`
	Is   string `json:"is"`
}

// LineageColumn is a column of the sinks.
type LineageColumn struct {
	Column string `json:"column"`
	Type   string `json:"type"`
	// From are the columns that its values are made of. There is none when it is
	// what a mapping says by itself, or a count of rows.
	From []Origin `json:"from"`
	// By are the columns that choose its values: the key of a lookup, or of the rows
	// that are aggregated.
	By []Origin `json:"by"`
	// Steps are those that made it of them, from the first.
	Steps []LineageStep `json:"steps"`
	// Constant: it comes of no column and no row.
	Constant bool `json:"constant"`
}

// LineageStep is a step by its number, from 1.
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

// Lineage asks the sources for their columns, checks the steps against them, and
// says what the columns of the sinks come from. It reads no row and writes nothing.
func (p *Pipeline) Lineage(ctx context.Context) (*Lineage, error) {
	asked, columns, planned, err := p.ask(ctx)
	if err != nil {
		return nil, err
	}
	return asked.lineage(columns, planned), nil
}

// strand is a column on its way.
type strand struct {
	from, by map[Origin]bool
	steps    []LineageStep
	rows     bool // it counts rows
}

// strandOf is a strand of others that a step makes of them.
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

// chosenBy adds the columns that choose a strand's values.
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

// lineage goes the way of a row, with where its columns come from.
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

// traced is a step with what comes to it.
type traced struct {
	spec    stepSpec
	at      LineageStep
	before  []column
	strands []strand
}

// of are the strands of columns.
func (t traced) of(columns ...string) (all []strand) {
	for _, name := range columns {
		all = append(all, t.strands[indexOf(t.before, name)])
	}
	return all
}

// through are the strands behind the step, of the columns that are there then.
func (t traced) through(next []column) []strand {
	out := make([]strand, len(next))
	for i, c := range next {
		out[i] = t.made(i, c)
	}
	return out
}

// made is what a column behind the step comes from.
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
		if i >= len(t.before)-1 { // behind those that stay
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

// called is the source by the name that columns call it by, which is none of the
// pipeline's own source.
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

// looksAt are the strands by which the step chooses rows, or makes others; nil:
// it lets all through.
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
