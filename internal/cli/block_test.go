package cli

import (
	"strings"
	"testing"

	"weir/internal/platform/sqldb"
)

// What is blocked and lifted on the command line is kept, and in the audit log; a
// fleet that never had a key is more likely mistyped than right.
func TestBlock_IsPutListedAndLifted(t *testing.T) {
	dir := lived(t)
	if out, code := run(t, "keys", "create", "--fleet", "shop", "--data", dir); code != 0 {
		t.Fatal(out)
	}
	do := func(want int, args ...string) string {
		t.Helper()
		out, code := run(t, append([]string{"block", args[0], "--data", dir}, args[1:]...)...)
		if code != want {
			t.Fatalf("%v: %d %s", args, code, out)
		}
		return out
	}
	do(exitUsage, "put", "--fleet", "shpo", "--device", "d", "--reason", "why")
	do(exitUsage, "put", "--fleet", "shop", "--reason", "why")
	do(exitUsage, "put", "--fleet", "shop", "--device", "d", "--user", "u", "--reason", "why")
	do(exitUsage, "put", "--fleet", "shop", "--device", "d", "--for", "-1s", "--reason", "why")
	do(0, "put", "--fleet", "shop", "--device", "d", "--for", "1h", "--reason", "tried cards")
	do(0, "put", "--fleet", "shop", "--user", "u", "--reason", "why")
	if out := do(0, "list", "--fleet", "shop"); strings.Count(out, "\n") != 3 || !strings.Contains(out, "tried cards") {
		t.Error(out)
	}
	if out := do(0, "list", "--fleet", "shop", "--user", "u", "--json"); strings.Count(out, `"subject"`) != 1 {
		t.Error(out)
	}
	if out := do(0, "lift", "--fleet", "shop", "--device", "d"); out != "lifted 1\n" {
		t.Error(out)
	}
	do(exitFailed, "lift", "--fleet", "shop", "--device", "d")
	if out := do(0, "list", "--fleet", "shop", "--past"); strings.Count(out, "\n") != 3 ||
		!strings.Contains(out, "at the command line") {
		t.Error(out)
	}
	db, err := sqldb.Open(t.Context(), DataDir(dir).controlURL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var acts int
	var text string
	err = db.QueryRow(`SELECT count(*), group_concat(detail) FROM audit_log WHERE path LIKE 'block %'`).Scan(&acts, &text)
	if err != nil || acts != 4 || !strings.Contains(text, `"subject":"d"`) || !strings.Contains(text, `"kind":"user"`) {
		t.Errorf("the audit log has %d: %s (%v)", acts, text, err)
	}
}
