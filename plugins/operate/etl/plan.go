package etl

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed pipeline.schema.json
var schema []byte

// Schema returns the JSON Schema of a pipeline's file, for editors.
func Schema() []byte { return schema }

// Plan asks the source for its columns, checks the steps and the sinks against them, and describes
// what a run would do. It reads no row and writes nothing.
func (p *Pipeline) Plan(ctx context.Context) (lines []string, err error) {
	p, columns, planned, err := p.ask(ctx)
	if err != nil {
		return nil, err
	}
	lines = append(lines, "from "+p.source.describe(), "  "+list(columns))
	lines = append(lines, planned.notes...)
	for i, s := range p.steps {
		line := fmt.Sprintf("step %d: %s", i+1, s.kind)
		if s.column != "" {
			line += " " + s.column
		}
		if s.lookup != nil {
			line += fmt.Sprintf(" %s in %s, else %s; it keeps at most %d MiB", s.lookup.name, s.lookup.source.describe(),
				s.onFailure, p.memory)
		}
		if len(s.by) > 0 {
			line += " by " + strings.Join(s.by, ", ")
		}
		if s.kind == "validate" || s.kind == "derive" || s.kind == "unnest" || s.kind == "unique" {
			line += ", else " + s.onFailure
		}
		if s.gathers() {
			line += fmt.Sprintf("; it needs all rows, and keeps at most %d MiB", p.memory)
		}
		lines = append(lines, line)
		if !slices.Equal(planned.between[i], planned.between[i+1]) {
			lines = append(lines, "  "+list(planned.between[i+1]))
		}
	}
	for _, t := range p.sinks {
		if err := p.takes(ctx, t, planned.columns()); err != nil {
			return nil, fmt.Errorf("planning sink %s: %w", t, err)
		}
		lines = append(lines, "to "+t.String())
	}
	if p.rejects != nil {
		lines = append(lines, "rejects to "+p.rejects.String())
	}
	return lines, nil
}

// ask asks the source and the lookups for their columns, and plans the steps with them. The
// pipeline that it returns has the tables of its lookups, without rows.
func (p *Pipeline) ask(ctx context.Context) (*Pipeline, []column, *planned, error) {
	in, err := p.source.open(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	defer in.close()
	if err := checkHeaders(in); err != nil {
		return nil, nil, nil, err
	}
	if p, err = p.withTables(ctx, false); err != nil {
		return nil, nil, nil, err
	}
	planned, problems := p.plan(in.columns())
	if len(problems) > 0 {
		return nil, nil, nil, &ProblemsError{problems}
	}
	if told, is := in.(planReading); is {
		planned.notes = told.notes()
		known, mend := told.known()
		if err := p.checkKeys(told.describe(), known, mend); err != nil {
			return nil, nil, nil, err
		}
	}
	return p, in.columns(), planned, nil
}

func list(columns []column) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.name + " " + c.of.String()
	}
	return strings.Join(all, ", ")
}
