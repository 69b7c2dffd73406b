package exporter

import (
	"regexp"
	"strings"
)

// help returns help texts by metric name: the fourth column of the document's tables whose first column names a
// metric.
func help(document string) map[string]string {
	texts := map[string]string{}
	named := regexp.MustCompile("^\\| `([a-z_]+)` \\|")
	link := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	for line := range strings.Lines(document) {
		cells := strings.Split(line, "|")
		if name := named.FindStringSubmatch(line); name != nil && len(cells) > 4 {
			text := link.ReplaceAllString(strings.TrimSpace(cells[4]), "$1")
			texts[name[1]] = strings.ReplaceAll(text, "`", "")
		}
	}
	return texts
}
