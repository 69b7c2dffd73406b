package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/platform/sqldb"
	"weir/plugins/process/rule"
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

// A version that the stream cannot evaluate is a finding; to try it without saying of
// which topic events are is wrong usage.
func TestCLI_RulesOfTwoTopicsAreRefusedWithWhatToDo(t *testing.T) {
	dir := lived(t)
	db, err := sqldb.Open(t.Context(), DataDir(dir).controlURL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := rule.OpenVersions(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO rule_topic (topic, partitions) VALUES ('raw-events', 1)`); err != nil {
		t.Fatal(err)
	}
	file, events := filepath.Join(t.TempDir(), "rules.yaml"), filepath.Join(t.TempDir(), "events.ndjson")
	const rules = `rules: [{ name: paid, key: [device_id], select: { at: left.timestamp }, join: { left: { topic: raw-events },
		right: { topic: payments }, within: { after: 1m }, allowed_lateness: 0s } }]`
	const one = `{"event_id":"00000000-0000-4000-8000-000000000001","device_id":"d","device_firmware_version":"2.0.0",` +
		`"timestamp":"2026-11-21T09:15:00Z","metrics":{}}`
	for name, text := range map[string]string{file: rules, events: one} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"put", file, "--data", dir}, exitFinding, "WEIR_RULES_TOPICS=raw-events,payments"},
		{[]string{"try", "--rules", file, "--events", events}, exitUsage, "raw-events=FILE"},
		{[]string{"try", "--rules", file, "--events", "raw-events=" + events}, 0, "paid: 0 results, 1 events counted"},
	} {
		out, code := run(t, append([]string{"rules"}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%q: %d %s, want %d with %s", c.args, code, out, c.code, c.says)
		}
	}
}
