package auditlog

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

func opened(t *testing.T, url string) *Log {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	l, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func appendOnly(t *testing.T, l *Log) {
	t.Helper()
	command := "keys create " + t.Name() + time.Now().String() // the store may be shared
	a := Local(command, map[string]any{"id": "k1", "fleet": "f"}, nil)
	for range 2 { // delivered twice
		if err := l.Add(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	odd := Act{ID: a.ID + "-odd", At: time.Now(), Method: "POST", Path: "/v1/a\x00\xff/é", Key: "k\x00",
		Detail: map[string]any{"detail": "\x00\xff"}}
	if err := l.Add(t.Context(), odd, a); err != nil { // an act that is refused would hold up all behind it
		t.Fatal(err)
	}
	listed, err := l.List(t.Context(), Query{From: a.At.Add(-time.Second), To: time.Now().Add(time.Hour),
		Path: `/v1/a\u0000\xff/é`, Limit: 9})
	if err != nil || len(listed) == 0 || listed[0].ID != odd.ID || listed[0].Key != `k\u0000` {
		t.Errorf("%+v, %v", listed, err)
	}
	if _, err := l.db.ExecContext(t.Context(), `UPDATE audit_log SET path = 'nothing' WHERE id = $1`, a.ID); err == nil {
		t.Error("an entry was changed")
	}
	got, err := l.List(t.Context(), Query{From: a.At.Add(-time.Minute), To: a.At.Add(time.Minute), Path: command,
		Limit: 10})
	a.At = a.At.Truncate(time.Microsecond)
	if err != nil || !reflect.DeepEqual(got, []Act{a}) || a.User == "" || a.From == "" {
		t.Fatalf("%+v %v, not %+v", got, err, a)
	}
	for _, q := range []Query{{Key: "other", Path: command}, {Path: command + "!"},
		{Path: command, Before: &Place{a.At.UnixMicro(), ""}}} {
		q.From, q.To, q.Limit = a.At.Add(-time.Minute), a.At.Add(time.Minute), 10
		if got, err := l.List(t.Context(), q); err != nil || len(got) != 0 {
			t.Fatalf("%+v: %v %v", q, got, err)
		}
	}
	if n, err := expireEntries(t.Context(), l.db, expire.Pass{}, a.At.Add(time.Second)); err != nil || n.Rows < 1 {
		t.Fatal(n, err)
	}
}

func TestAuditLog_TheAuditLogIsAppendOnly(t *testing.T) {
	appendOnly(t, opened(t, "sqlite://"+filepath.Join(t.TempDir(), "control.db")))
}

func TestAuditLog_TheAuditLogIsAppendOnlyInPostgresToo(t *testing.T) {
	appendOnly(t, opened(t, require.Env(t, "WEIR_TEST_POSTGRES_URL")))
}

func TestAuditLog_NoSecretGetsIntoAnAct(t *testing.T) {
	got := Scrub([]byte(`{"id":"k1","key":"weir_secret","secret":"s","token":"t","password":"p","fleet":"f","devices":["a","b"],"stages":["ingest"],
		"patch":"root = 1","schema":"{}","admin":true,"nested":{"fleet":"g"},"reason":"` + fmt.Sprintf("%0300d", 1) + `","mode":"reb`))
	reason := fmt.Sprintf("%0300d", 1)[:textMost] + "…"
	want := map[string]any{"id": "k1", "fleet": "f", "devices": "2 of them", "stages": "ingest", "admin": true,
		"reason": reason}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%v", got)
	}
	if got := Scrub([]byte(`["a"]`)); len(got) != 0 {
		t.Fatal(got)
	}
}
