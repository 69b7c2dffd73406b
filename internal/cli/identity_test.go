package cli

import (
	"strings"
	"testing"

	"weir/internal/platform/sqldb"
)

// What is said on the command line is kept with its version, and in the audit log.
func TestIdentity_IsLinkedAndShown(t *testing.T) {
	dir := lived(t)
	if out, code := run(t, "keys", "create", "--fleet", "shop", "--data", dir); code != 0 {
		t.Fatal(out)
	}
	do := func(want int, args ...string) string {
		t.Helper()
		out, code := run(t, append([]string{"identity", args[0], "--data", dir}, args[1:]...)...)
		if (code == 0) != (want == 0) {
			t.Fatalf("%v: %d %s", args, code, out)
		}
		return out
	}
	do(1, "link", "--fleet", "shpo", "--anonymous", "a1", "--user", "bob")
	if out := do(0, "link", "--fleet", "shop", "--anonymous", "a1", "--user", "bob"); !strings.Contains(out,
		"a1 is bob since") {
		t.Error(out)
	}
	if out := do(0, "link", "--fleet", "shop", "--anonymous", "a1", "--user", "ann", "--at",
		"2026-11-01T10:00:00Z"); !strings.Contains(out, "it was bob before") {
		t.Error(out)
	}
	if out := do(0, "show", "--fleet", "shop", "--subject", "a1"); !strings.Contains(out, "person: ann\naliases: a1\n") ||
		!strings.Contains(out, "version: 2") {
		t.Error(out)
	}
	if out := do(0, "show", "--fleet", "shop", "--subject", "a1", "--as-of", "1", "--json"); !strings.Contains(out,
		`"person": "bob"`) {
		t.Error(out)
	}
	db, err := sqldb.Open(t.Context(), DataDir(dir).controlURL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var acts int
	var text string
	err = db.QueryRow(`SELECT count(*), group_concat(detail) FROM audit_log WHERE path = 'identity'`).Scan(&acts, &text)
	if err != nil || acts != 2 || !strings.Contains(text, `"anonymous_id":"a1"`) || !strings.Contains(text, `"user_id":"ann"`) {
		t.Errorf("the audit log has %d: %s (%v)", acts, text, err)
	}
}
