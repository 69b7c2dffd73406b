package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Lint says of a look-up by address that no job can ask it later, where addresses are
// not stored, and says nothing of others.
func TestLint_NamesLookUpsWhoseKeyIsNotStored(t *testing.T) {
	const input = "input: { replay_jobs: {} }\npipeline:\n  processors:\n"
	const geo = "  - enrich: { lookups: [ { name: region, key: '${! this.context.ip }', geo: /var/lib/country.mmdb } ] }\n"
	const profile = "  - enrich: { lookups: [ { name: profile, key: '${! this.user.id }', redis: 'redis://h' } ] }\n"
	for _, c := range []struct {
		config string
		lines  []int
	}{
		{input + geo + "  - privacy: { actions: { ip: drop } }", []int{4}},
		{input + profile + geo + "  - privacy: {}", []int{5}},
		{input + "  - switch:\n    - processors:\n    " + geo +
			"    - processors: [ { privacy: { actions: { ip: hash } } } ]", []int{6}},
		{input + geo + "  - privacy: { actions: { ip: keep } }", nil},
		{input + geo + "  - privacy: { action: keep }", nil},
		{input + geo, nil}, // telemetry's addresses may be stored
		{input + profile + "  - privacy: {}", nil},
		{strings.Replace(input, "replay_jobs", "gate", 1) + geo + "  - privacy: {}", nil},
		{"pipeline: [", nil},
	} {
		path := filepath.Join(t.TempDir(), "replay.yaml")
		if err := os.WriteFile(path, []byte(c.config), 0o600); err != nil {
			t.Fatal(err)
		}
		var lines []int
		for _, f := range unstored(path) {
			lines = append(lines, f.line)
		}
		if fmt.Sprint(lines) != fmt.Sprint(c.lines) {
			t.Errorf("found at lines %v, want %v:\n%s", lines, c.lines, c.config)
		}
	}
}
