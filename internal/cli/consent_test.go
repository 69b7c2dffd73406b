package cli

import (
	"strings"
	"testing"

	"weir/internal/platform/sqldb"
)

// What is said on the command line is kept with its time, and in the audit log;
// a fleet that never had a key is more likely mistyped than right.
func TestConsent_IsGrantedWithdrawnAndShown(t *testing.T) {
	dir := lived(t)
	if out, code := run(t, "keys", "create", "--fleet", "shop", "--data", dir); code != 0 {
		t.Fatal(out)
	}
	do := func(want int, args ...string) string {
		t.Helper()
		out, code := run(t, append([]string{"consent", args[0], "--data", dir, "--subject", "browser-1"}, args[1:]...)...)
		if (code == 0) != (want == 0) {
			t.Fatalf("%v: %d %s", args, code, out)
		}
		return out
	}
	do(1, "grant", "--fleet", "shpo", "--purpose", "ads")
	do(0, "grant", "--fleet", "shop", "--purpose", "ads", "--at", "2026-11-01T10:00:00Z", "--source", "banner 7")
	do(0, "withdraw", "--fleet", "shop", "--purpose", "ads")
	do(1, "grant", "--fleet", "shop", "--purpose", "Ads")
	list := strings.Split(do(0, "list", "--fleet", "shop"), "\n")
	if len(list) < 3 || !strings.Contains(list[1], "2026-11-01T10:00:00Z  granted") ||
		!strings.Contains(list[1], "banner 7") ||
		!strings.Contains(list[2], "withdrawn") {
		t.Errorf("%q", list)
	}
	if out := do(0, "list", "--fleet", "shop", "--json"); strings.Count(out, `"purpose"`) != 2 {
		t.Error(out)
	}
	db, err := sqldb.Open(t.Context(), DataDir(dir).controlURL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var acts int
	var text string
	err = db.QueryRow(`SELECT count(*), group_concat(detail) FROM audit_log WHERE path = 'consent'`).Scan(&acts, &text)
	if err != nil || acts != 3 || !strings.Contains(text, `"subject":"browser-1"`) || !strings.Contains(text, `"granted":false`) {
		t.Errorf("the audit log has %d: %s (%v)", acts, text, err)
	}
}
