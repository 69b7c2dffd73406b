package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Lint says where privacy comes after schema_validate, wherever the two are, and
// says nothing where an event meets it before, or meets one of the two.
func TestLint_NamesPrivacyBehindValidation(t *testing.T) {
	const processors = "pipeline:\n  processors:\n"
	const privacy, validate = "{ privacy: {} }", "{ schema_validate: { url: 'file://schemas' } }"
	for _, c := range []struct {
		config string
		lines  []int
	}{
		{processors + "  - " + privacy + "\n  - " + validate, nil},
		{processors + "  - " + validate + "\n  - " + privacy, []int{4}},
		{processors + "  - " + validate + "\n  - label: privacy\n    mapping: root = this", nil},
		{processors + "  - " + privacy + "\n  - " + validate + "\n  - " + privacy, []int{5}},
		{processors + "  - try: [ " + validate + " ]\n  - for_each:\n    - " + privacy, []int{5}},
		{"input:\n  gate: {}\n  processors: [ " + validate + " ]\npipeline:\n  processors: [ " + privacy + " ]", []int{5}},
		{"output:\n  event_log: {}\n  processors: [ " + privacy + " ]\npipeline:\n  processors: [ " + validate + " ]",
			[]int{3}},
		{processors + "  - switch:\n    - processors: [ " + validate + " ]\n    - processors: [ " + privacy + ", " +
			validate + " ]", nil},
		{processors + "  - switch:\n    - processors: [ " + validate + " ]\n    - processors: [ ]\n  - " + privacy,
			[]int{6}},
		{"processor_resources:\n- label: a\n  privacy: {}\n- label: b\n  resource: b\n" + processors +
			"  - resource: b\n  - " + validate + "\n  - resource: a", []int{3}},
		{"pipeline: [", nil}, // the linter's own
	} {
		path := filepath.Join(t.TempDir(), "ingest.yaml")
		if err := os.WriteFile(path, []byte(c.config), 0o600); err != nil {
			t.Fatal(err)
		}
		var lines []int
		for _, f := range misplaced(path) {
			lines = append(lines, f.line)
		}
		if fmt.Sprint(lines) != fmt.Sprint(c.lines) {
			t.Errorf("found at lines %v, want %v:\n%s", lines, c.lines, c.config)
		}
	}
	for _, shipped := range []string{"configs/user_events.yaml", "configs/streams/ingest.yaml"} {
		if found := misplaced(filepath.Join("..", "..", shipped)); len(found) > 0 {
			t.Errorf("%s: %v", shipped, found)
		}
	}
}
