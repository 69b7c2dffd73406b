package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Lint names a mapping that would make event_log refuse every event, and leaves
// alone what masks, adds, drops or fails.
func TestLint_NamesAMappingThatMakesAnotherEvent(t *testing.T) {
	for _, c := range []struct{ processor, says string }{
		{"mapping: root.diagnostics.user = \"***\"", "is no event any more"},
		{"mapping: root = this.diagnostics", "is no event any more"},
		{"mapping: |\n        root = this\n        root.device_id = this.device_id.uppercase()", "is another than"},
		{"mutation: root.event_id = uuid_v4()", "is another than"},
		{"mapping: |\n        root = this\n        root.diagnostics.user = \"***\"", ""},
		{"mutation: root.diagnostics.user = \"***\"", ""},
		{"mapping: meta weir_site = \"north\"", ""},
		{"mapping: root = if this.metrics.cpu_temp > 0 { deleted() }", ""},
		{"mapping: root = throw(\"no\")", ""},
		{"mapping: root = ${SOMETHING}", ""},
		{"mapping: root = ", ""}, // the linter's own
	} {
		for _, place := range []string{"after", "before", "elsewhere"} {
			judge, output := "    - schema_validate: { url: file://schemas }\n", "event_log: {}"
			processors := judge + "    - label: mine\n      " + c.processor + "\n"
			switch place {
			case "before":
				processors = "    - " + c.processor + "\n" + judge
			case "elsewhere":
				output = "drop: {}"
			}
			path := filepath.Join(t.TempDir(), "ingest.yaml")
			if err := os.WriteFile(path, fmt.Appendf(nil, "pipeline:\n  processors:\n%soutput:\n  %s\n", processors, output),
				0o600); err != nil {
				t.Fatal(err)
			}
			found := altering(path)
			switch {
			case place != "after" || c.says == "":
				if len(found) > 0 {
					t.Errorf("%s, %s: %v", c.processor, place, found)
				}
			case len(found) != 1 || !strings.Contains(found[0].String(), c.says) || found[0].line != 5:
				t.Errorf("%s: %v", c.processor, found)
			}
		}
	}
}
