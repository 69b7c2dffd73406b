// Package metricdoc reads the tables of docs/metrics.md, for tests that compare them with code, processes, rules and
// dashboards.
package metricdoc

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Metric is one row of the tables.
type Metric struct {
	Type     string   // counter, gauge or histogram
	Labels   []string // without those that the engine adds, in order
	Engine   bool     // a metric of the engine
	Only     bool     // absent at the start: only with a certain component, or with the first value
	Measured bool     // present only after the first measurement
}

// Read returns the rows of the document by metric name. A malformed row is an error.
func Read(path string) (map[string]Metric, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out, word := map[string]Metric{}, regexp.MustCompile("`([a-z_]+)`")
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(strings.Trim(line, "|\n"), "|")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		if len(cells) != 5 {
			return nil, fmt.Errorf("%s: a row has %d cells, expected 5: %s", path, len(cells), line)
		}
		for _, cell := range cells[3:] {
			if len(strings.TrimSpace(cell)) < 3 {
				return nil, fmt.Errorf("%s: a row lacks what it says, or what to do: %s", path, line)
			}
		}
		name := word.FindStringSubmatch(cells[0])
		if name == nil {
			return nil, fmt.Errorf("%s: a row names no metric: %s", path, line)
		}
		if _, twice := out[name[1]]; twice {
			return nil, fmt.Errorf("%s: %s has two rows", path, name[1])
		}
		m := Metric{Type: strings.TrimSpace(cells[1]), Engine: !strings.HasPrefix(name[1], "weir_"),
			Only:     strings.Contains(cells[3], "only where ") || strings.Contains(cells[3], "; comes with the first"),
			Measured: strings.Contains(cells[3], "as of the last run") || strings.Contains(cells[3], "told by who reads it")}
		for _, label := range word.FindAllStringSubmatch(cells[2], -1) {
			m.Labels = append(m.Labels, label[1])
		}
		out[name[1]] = m
	}
	return out, nil
}
