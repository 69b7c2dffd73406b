package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"weir/internal/control/auditlog"
	"weir/internal/platform/sqldb"
)

func TestCLI_ActsOnTheCommandLineAreInTheAuditLog(t *testing.T) {
	dir := lived(t)
	key, _, err := keys(t, "create", "--fleet", "acme", "--name", "pumps", "--data", dir)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Split(key, "_")[1]
	if _, _, err := keys(t, "rotate", "--fleet", "acme", "--data", dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := keys(t, "revoke", id, "--data", dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := keys(t, "revoke", "nothing", "--data", dir); err == nil {
		t.Fatal("there is no such key")
	}
	file := filepath.Join(dir, "v.json")
	if err := os.WriteFile(file, []byte(`{"type":"object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	app := &cli.App{Name: "weir", Commands: []*cli.Command{strict(schemaCommand())}, Writer: new(strings.Builder),
		ErrWriter: new(strings.Builder), ExitErrHandler: func(*cli.Context, error) {}}
	// taken or not, it was tried
	_ = app.Run([]string{"weir", "schema", "register", file, "--subject", "bare", "--data", dir})

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
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, a := range acts {
		if a.Method != auditlog.CommandLine || a.User == "" || a.From == "" {
			t.Errorf("who, and from where? %+v", a)
		}
		said = append(said, a.Path)
	}
	if got := strings.Join(said, ", "); got != "schema register, keys revoke, keys revoke, keys rotate, keys create" {
		t.Errorf("the log has %s", got)
	}
	first := acts[len(acts)-1]
	if first.Detail["id"] != id || first.Detail["fleet"] != "acme" || first.Status != 200 || acts[1].Status != 500 {
		t.Errorf("what was done, and how it ended: %+v, %+v", first, acts[1])
	}
	if raw, err := json.Marshal(acts); err != nil || strings.Contains(string(raw), strings.TrimSpace(key)) {
		t.Error("the log holds a secret", err)
	}
}
