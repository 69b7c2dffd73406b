package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// Who reads or writes the log by the environment is told that it names no broker.
func TestLint_SaysThatTheEnvironmentNamesNoBroker(t *testing.T) {
	d := shippedEngine(t)
	for name, c := range map[string]struct {
		input, output string
		line          int
	}{
		"reads":         {"  log_input: { group: g, topics: [ t ] }", "  drop: {}", 2},
		"reads its own": {"  log_input: { seed_brokers: [ a ], group: g, topics: [ t ] }", "  drop: {}", 0},
		"writes": {"  generate: { mapping: root = 1 }", "  fallback:\n    - log_output: { client: c, topic: t, key: k }",
			5},
		"fails":              {"  generate: { mapping: root = 1 }", "  dead_letters:\n    stage: s\n    client: c", 4},
		"names dead letters": {"  generate: { mapping: 'root.dead_letters = 1' }", "  drop: {} # log_output:", 0},
	} {
		path := filepath.Join(t.TempDir(), "one.yaml")
		if err := os.WriteFile(path, []byte("input:\n"+c.input+"\noutput:\n"+c.output+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, found := d.checker(func(string) (string, bool) { return "", false }).file(path)
		line := 0
		for _, f := range found {
			if f.text != "WEIR_BROKERS"+unset {
				t.Errorf("%s: %s", name, f)
			}
			line = f.line
		}
		if line != c.line {
			t.Errorf("%s: found in line %d, want %d", name, line, c.line)
		}
	}
}

// A template takes the place of a component of weir's own, and is no more looked at
// as one.
func TestTemplates_MayReplaceAComponentOfWeirs(t *testing.T) {
	d := shippedEngine(t)
	path := filepath.Join(t.TempDir(), "audit_log.yaml")
	if err := os.WriteFile(path, []byte("name: audit_log\ntype: output\nfields: [ { name: other, type: string } ]\n"+
		"mapping: 'root.drop = {}'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := d.lintOne(t, "output", "audit_log", map[string]any{"other": "x"}); len(found) == 0 {
		t.Fatal("weir's own has the field")
	}
	d.env = d.env.Clone() // of the test alone
	if err := d.useTemplates([]string{path}); err != nil {
		t.Fatal(err)
	}
	if found := d.lintOne(t, "output", "audit_log", map[string]any{"other": "x"}); len(found) > 0 {
		t.Errorf("the template in its place: %v", found)
	}
}
