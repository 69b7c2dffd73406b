package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/control/etlrun"
	"weir/internal/platform/sqldb"
)

// A run tells the store how it ended, well or not; a store that is away ends no run.
func TestETL_ARunIsToldToTheStore(t *testing.T) {
	home, dir := lived(t), t.TempDir()
	store := DataDir(home).controlURL()
	pipeline := filepath.Join(dir, "p.json")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("p.json", fmt.Sprintf(`{"name": "orders", "source": {"type": "ndjson", "path": "in.ndjson", "columns": [
		{"name": "id", "type": "int64"}]}, "steps": [{"filter": "this.id > 1"}],
		"sinks": [{"format": "csv", "url": "file://%s/out", "object": "x.csv"}]}`, dir))
	etl := func(want int, store string) string {
		t.Helper()
		out, code := run(t, "etl", "run", pipeline, "--state", filepath.Join(dir, "state"), "--store", store)
		if (code == 0) != (want == 0) {
			t.Fatalf("%d: %s", code, out)
		}
		return out
	}
	write("in.ndjson", "{\"id\": \"x\"}\n")
	etl(1, store)
	write("in.ndjson", "{\"id\": 1}\n{\"id\": 2}\n{\"id\": 3}\n")
	etl(0, store)

	db, err := sqldb.Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	kept, err := etlrun.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	all, err := kept.List(t.Context(), etlrun.Filter{Limit: 10})
	if err != nil || len(all) != 2 || all[0].State != etlrun.Done || all[1].State != etlrun.Failed ||
		!strings.Contains(all[1].Error, "is no int64") || all[0].Read != 3 || all[0].Written != 2 || all[0].LeftOut != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	one, err := kept.Get(t.Context(), "orders", all[0].Run)
	if err != nil || !strings.Contains(string(one.Report), `"sha256"`) {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := db.Exec("DROP TABLE etl_run"); err != nil {
		t.Fatal(err)
	}
	if out := etl(0, store); !strings.Contains(out, "the control store is not told how the run goes, which goes on") {
		t.Error(out)
	}
	away := "postgres://127.0.0.1:1/none?connect_timeout=1"
	if out := etl(0, away); !strings.Contains(out, "is not told how the run goes") {
		t.Error(out)
	}
	if out := etl(1, "sqlite://"+filepath.Join(dir, "none.db")); !strings.Contains(out, "none.db") {
		t.Error(out)
	}
}
