package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A version is put in force for some fleets by their names or patterns; an empty
// list of them is not all.
func TestCLI_RulesAreActivatedForSomeFleets(t *testing.T) {
	dir := lived(t)
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte("rules: [{ name: minute, key: [device_id], select: { n: count() }, "+
		"window: { type: tumbling, size: 1m, allowed_lateness: 0s } }]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"put", file}, 0, "version 1"},
		{[]string{"activate", "1", "--fleets", ""}, exitUsage, "leave it out"},
		{[]string{"activate", "1", "--fleets", " , "}, exitUsage, "leave it out"},
		{[]string{"list"}, 0, "in force: the file"},
		{[]string{"activate", "1", "--fleets", " plant-1, test-* "}, 0, "for plant-1, test-* alone: version 1"},
		{[]string{"activate", "1", "--fleets", "b"}, exitFailed, "before another is"},
		{[]string{"list", "--json"}, 0, `"canary_version": "`},
		{[]string{"activate", "1"}, 0, "in force: version 1"},
	} {
		out, code := run(t, append([]string{"rules", c.args[0], "--data", dir}, c.args[1:]...)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%q: %d %s, want %d with %s", c.args, code, out, c.code, c.says)
		}
	}
}
