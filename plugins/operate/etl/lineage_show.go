package etl

import (
	"fmt"
	"slices"
	"strings"
)

// Text returns the lineage as lines for people.
func (l *Lineage) Text() (lines []string) {
	for _, s := range l.Sources {
		lines = append(lines, fmt.Sprintf("%s: %s", s.Name, s.Is))
	}
	for _, c := range l.Columns {
		lines = append(lines, c.Column+" "+c.Type)
		if c.Constant {
			lines = append(lines, "  of no column")
		} else if len(c.From) == 0 {
			lines = append(lines, "  of the rows")
		} else {
			lines = append(lines, "  of "+originList(c.From))
		}
		if len(c.By) > 0 {
			lines = append(lines, "  by "+originList(c.By))
		}
		if len(c.Steps) > 0 {
			lines = append(lines, "  through "+stepList(c.Steps))
		}
	}
	for _, s := range l.Rows {
		line := fmt.Sprintf("rows: step %d, %s", s.Step, s.Kind)
		if len(s.Columns) > 0 {
			line += ", looks at " + originList(s.Columns)
		}
		lines = append(lines, line)
	}
	for _, s := range l.Sinks {
		lines = append(lines, "to "+s)
	}
	return lines
}

func (o Origin) String() string { return o.Source + "." + o.Column }

func originList(all []Origin) string {
	parts := make([]string, len(all))
	for i, o := range all {
		parts[i] = o.String()
	}
	return strings.Join(parts, ", ")
}

func stepList(all []LineageStep) string {
	parts := make([]string, len(all))
	for i, s := range all {
		parts[i] = fmt.Sprintf("%d %s", s.Step, s.Kind)
	}
	return strings.Join(parts, ", ")
}

// Mermaid returns the lineage as a Mermaid flowchart: columns of sources on the left, those of the
// sinks on the right. A dotted line leads from a column that selects values.
func (l *Lineage) Mermaid() (lines []string) {
	lines = []string{"flowchart LR"}
	ids := map[Origin]string{}
	for i, s := range l.Sources {
		lines = append(lines, fmt.Sprintf("  subgraph s%d[%s]", i, mermaidText(s.Name+": "+s.Is)))
		for n, o := range l.of(s.Name) {
			ids[o] = fmt.Sprintf("s%dc%d", i, n)
			lines = append(lines, fmt.Sprintf("    %s[%s]", ids[o], mermaidText(o.Column)))
		}
		lines = append(lines, "  end")
	}
	lines = append(lines, "  subgraph to["+mermaidText(strings.Join(l.Sinks, ", "))+"]")
	for i, c := range l.Columns {
		text := c.Column + " " + c.Type
		if c.Constant {
			text += " (of no column)"
		}
		lines = append(lines, fmt.Sprintf("    to%d[%s]", i, mermaidText(text)))
	}
	lines = append(lines, "  end")
	for i, c := range l.Columns {
		for _, o := range c.From {
			if len(c.Steps) == 0 {
				lines = append(lines, fmt.Sprintf("  %s --> to%d", ids[o], i))
			} else {
				lines = append(lines, fmt.Sprintf("  %s -->|%s| to%d", ids[o], mermaidText(stepList(c.Steps)), i))
			}
		}
		for _, o := range c.By {
			if !slices.Contains(c.From, o) {
				lines = append(lines, fmt.Sprintf("  %s -.-> to%d", ids[o], i))
			}
		}
	}
	return lines
}

// of returns the columns of a source that some column comes from.
func (l *Lineage) of(source string) []Origin {
	all := map[Origin]bool{}
	for _, c := range l.Columns {
		for _, o := range slices.Concat(c.From, c.By) {
			if o.Source == source {
				all[o] = true
			}
		}
	}
	return sorted(all)
}

// mermaidText returns a text in double quotes, with special characters as Mermaid's entities.
func mermaidText(text string) string {
	return `"` + strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;", "\n", " ").Replace(text) + `"`
}
