package api

import (
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/control/status"
	"weir/internal/control/streamconf"
	"weir/internal/platform/sqldb"
)

// Versions of stream configs are put in force and taken back over HTTP, which says
// what processes run by; none is put.
func TestStreamConfigs_ArePutInForceAndNotPut(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(r.dir, "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	kept, err := streamconf.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Put(t.Context(), streamconf.Version{Stream: "raw", Text: "input: {}"}); err != nil {
		t.Fatal(err)
	}
	runs, err := status.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if err := runs.Beat(t.Context(), status.Row{ID: "here/1", Configs: []status.Config{{Stream: "raw", Wanted: 1,
		Problem: "it is wrong"}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "", 200, `"active":[],"processes":[{"process":"here/1","stream":"raw","wanted":1,"running":0,"problem":"it is wrong"}]`},
		{"POST", "", 405, ""},
		{"GET", "/raw/1", 200, `"text":"input: {}"`},
		{"GET", "/raw/2", 404, ""},
		{"GET", "/raw/x", 400, ""},
		{"POST", "/raw/2/activate", 404, ""},
		{"POST", "/raw/rollback", 409, "nothing-before"},
		{"POST", "/raw/1/activate", 200, `"by":"key `},
		{"GET", "", 200, `"active":[{"stream":"raw","number":1,`},
		{"POST", "/raw/rollback", 200, `"number":0,`},
	} {
		resp, body := r.do(r.admin, c.method, "/v1/stream-configs"+c.path, "")
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.method, c.path, resp.StatusCode, body, c.status, c.says)
		}
		if resp, _ := r.do(r.fleet, c.method, "/v1/stream-configs"+c.path, ""); resp.StatusCode < 400 {
			t.Errorf("%s %s by the key of a fleet: %d", c.method, c.path, resp.StatusCode)
		}
	}
	if acts := r.acts("?path=/v1/stream-configs"); len(acts.Acts) == 0 {
		t.Error("nothing is in the audit log")
	}
}
