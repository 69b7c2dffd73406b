package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Lint names a stream of replays that says that it enriches, and has no way for look-ups,
// with the field and what to add; it says nothing of others.
func TestLint_NamesStreamsThatEnrichNothing(t *testing.T) {
	const input = "input:\n  replay_jobs:\n    enriches: true\npipeline:\n  processors:\n"
	const validated = "    - switch:\n        - check: '@local_validate == \"1\"'\n          processors: "
	const asked = "    - switch:\n        - check: '@local_enrich.or(\"\") != \"\"'\n          processors: "
	for _, c := range []struct {
		config string
		found  bool
	}{
		{input + validated + "[ { schema_validate: { url: file://s } } ]", true},
		{input + "    - mapping: root = this", true},
		{strings.Replace(input, "true", `"${ENRICHES:true}"`, 1) + "    - mapping: root = this", true},
		{input + validated + "[ { replay_enriched: {} } ]", true}, // a look-up does not come there
		{input + asked + "[ { mapping: root = this } ]", true},
		{input + asked + "[ { replay_enriched: {} } ]", false},
		{input + asked + "[ { privacy: {} }, { replay_enriched: {} } ]\n        - processors: []", false},
		{input + "    - replay_enriched: {}", false}, // which lets all else pass
		{input + "    - switch:\n        - processors: [ { replay_enriched: {} } ]", false},
		{input + "    - resource: ours", false}, // of another file
		{strings.Replace(input, "true", "false", 1) + "    - mapping: root = this", false},
		{strings.Replace(input, "    enriches: true\n", "    rate: 1\n", 1) + "    - mapping: root = this", false},
		{"pipeline: [", false},
	} {
		path := filepath.Join(t.TempDir(), "replay.yaml")
		if err := os.WriteFile(path, []byte(c.config), 0o600); err != nil {
			t.Fatal(err)
		}
		found := unended(path)
		if len(found) > 0 != c.found {
			t.Errorf("found %v, want %t:\n%s", found, c.found, c.config)
		}
		for _, f := range found {
			if f.line != 3 || !strings.Contains(f.String(), "replay.yaml") || !strings.Contains(f.String(), "local_enrich") ||
				!strings.Contains(f.String(), "replay_enriched") {
				t.Errorf("%s", f)
			}
		}
	}
	for _, shipped := range []string{"streams/replay.yaml", "people/user_replay.yaml"} {
		path := filepath.Join("../../configs", shipped)
		if found := unended(path); len(found) > 0 {
			t.Errorf("%v", found)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		without := filepath.Join(t.TempDir(), "replay.yaml")
		text := strings.Replace(string(raw), "replay_enriched: {}", "noop: {}", 1)
		if err := os.WriteFile(without, []byte(text), 0o600); err != nil || text == string(raw) {
			t.Fatal(err)
		}
		if found := unended(without); len(found) != 1 {
			t.Errorf("%s without the case: %v", shipped, found)
		}
	}
}
