package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// keys runs 'weir keys …' and returns what it prints.
func keys(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	app := &cli.App{Name: "weir", Commands: []*cli.Command{strict(keysCommand())}, Writer: &out, ErrWriter: &errs,
		ExitErrHandler: func(*cli.Context, error) {}}
	err = app.Run(append([]string{"weir", "keys"}, args...))
	return out.String(), errs.String(), err
}

func TestCLI_KeyIsPrintedAloneAndOnce(t *testing.T) {
	dir := lived(t)
	out, note, err := keys(t, "create", "--fleet", "acme", "--name", "pumps", "--data", dir)
	key := strings.TrimSuffix(out, "\n")
	if err != nil || !strings.HasPrefix(key, "weir_") || strings.ContainsAny(key, " \n") || strings.Contains(note, key) {
		t.Fatalf("%q %q %v", out, note, err)
	}
	id := strings.Split(key, "_")[1]
	list, _, err := keys(t, "list", "--data", dir)
	if err != nil || !strings.Contains(list, id) || !strings.Contains(list, "pumps") || strings.Contains(list, key[20:]) {
		t.Errorf("%q %v", list, err)
	}
	if strings.Contains(list, "query") || !strings.Contains(list, " ingest ") {
		t.Errorf("a key may send, and no more, unless it is said: %s", list)
	}
	if out, _, err := keys(t, "rotate", "--fleet", "acme", "--grace", "1h", "--data", dir); err != nil ||
		!strings.HasPrefix(out, "weir_") {
		t.Errorf("rotating: %q %v", out, err)
	}
	if _, note, err := keys(t, "create", "--fleet", "acme", "--scope", "query, operate", "--devices", "pump-", "--data",
		dir); err != nil ||
		!strings.Contains(note, "query,operate") || !strings.Contains(note, "pump-") {
		t.Errorf("%q %v", note, err)
	}
	if out, _, err := keys(t, "rotate", "--fleet", "acme", "--data", dir); err == nil || out != "" ||
		!strings.Contains(err.Error(), "by its id") {
		t.Errorf("which of two keys is to be rotated is not said: %q %v", out, err)
	}
	if out, _, err := keys(t, "rotate", id, "--grace", "0s", "--data", dir); err != nil ||
		!strings.HasPrefix(out, "weir_") {
		t.Errorf("rotating one by its id: %q %v", out, err)
	}
	if list, _, err := keys(t, "list", "--fleet", "acme", "--data", dir); err != nil ||
		strings.Count(list, " active ") != 3 ||
		strings.Count(list, " revoked ") != 1 || strings.Count(list, "pump-") != 1 {
		t.Errorf("%s %v", list, err)
	}
	if _, _, err := keys(t, "revoke", id, "--data", dir); err != nil {
		t.Error(err)
	}
}

func TestCLI_KeysSayWhatIsMissing(t *testing.T) {
	dir := lived(t)
	for want, args := range map[string][]string{
		"--fleet":     {"create", "--data", dir},
		"ID":          {"revoke", "--data", dir},
		"no such":     {"revoke", "--data", dir, "nothing"},
		"no fleet":    {"create", "--admin", "--fleet", "acme", "--data", dir},
		"sqlite":      {"list", "--store", "mysql://x"},
		"no scope":    {"create", "--fleet", "acme", "--scope", "ingest,all", "--data", dir},
		"leave out":   {"create", "--admin", "--scope", "query", "--data", dir},
		"keys rotate": {"rotate", "--data", dir},
		"negative":    {"create", "--fleet", "acme", "--expires", "-1h", "--data", dir},
	} {
		if out, _, err := keys(t, args...); err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%v: %q %v", args, out, err)
		}
	}
	if out, _, err := keys(t, "create", "--admin", "--store", "sqlite://"+dir+"/control.db"); err != nil ||
		!strings.HasPrefix(out, "weir_") {
		t.Errorf("%q %v", out, err)
	}
}
