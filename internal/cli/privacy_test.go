package cli

import (
	"strings"
	"testing"
	"time"

	"weir/internal/control/auditlog"
	"weir/internal/platform/sqldb"
)

// A token of fleet shop under the key k2, which stands for ann@example.com.
const (
	revealKeys  = "k2:0123456789abcdef"
	revealToken = "tok-email-k2-dnkocbfbagdfekkhpmohcklohgpcogeoiialkkmmpggloiipgmpgbpjncijdea"
)

// A value is printed when the audit log has who asked and why, and not before;
// what could not be turned back is in it, too.
func TestReveal_IsInTheAuditLogWithoutTheValue(t *testing.T) {
	dir := lived(t)
	t.Setenv(envPrivacyKeys, revealKeys)
	args := func(more ...string) []string {
		return append([]string{"privacy", "reveal", "--data", dir, "--reason", "request 4711"}, more...)
	}
	if out, code := run(t, args("--fleet", "shop", revealToken)...); code != 0 || out != "ann@example.com\n" {
		t.Fatalf("%d %q", code, out)
	}
	if out, code := run(t, args("--fleet", "other", revealToken)...); code != exitFinding || strings.Contains(out, "@") {
		t.Errorf("of another fleet: %d %q", code, out)
	}
	for _, wrong := range [][]string{args("--fleet", "shop"), args("--fleet", "shop", "pii-email-k2-abcd"),
		args("--fleet", "shop", "--keys", revealKeys, revealToken), args(revealToken)} {
		if out, code := run(t, wrong...); code != exitUsage || strings.Contains(out, "@") ||
			strings.Contains(out, revealKeys) {
			t.Errorf("%v: %d %q", wrong, code, out)
		}
	}
	db, err := sqldb.Open(t.Context(), DataDir(dir).controlURL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	log, err := auditlog.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	acts, err := log.List(t.Context(), auditlog.Query{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour),
		Limit: 10})
	if err != nil || len(acts) != 2 {
		t.Fatal(acts, err)
	}
	for i, a := range acts { // the newest first
		if a.Path != "privacy reveal" || a.Detail["reason"] != "request 4711" || a.Status != []int{500, 200}[i] ||
			a.Detail["fleet"] != []string{"other", "shop"}[i] {
			t.Errorf("an act is %+v", a)
		}
	}
	var text string
	if err := db.QueryRow(`SELECT group_concat(detail) FROM audit_log`).Scan(&text); err != nil ||
		!strings.Contains(text, "tok-email-k2-") || strings.Contains(text, revealToken) || strings.Contains(text, "@") {
		t.Errorf("the audit log has %s (%v)", text, err)
	}
	if out, code := run(t, "privacy", "reveal", "--store", "sqlite:///nowhere/control.db", "--fleet", "shop", "--reason",
		"x", revealToken); code == 0 || strings.Contains(out, "@") {
		t.Errorf("without an audit log: %d %q", code, out)
	}
}
