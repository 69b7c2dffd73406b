package cli

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"weir/internal/control/apikey"
	"weir/internal/control/auditlog"
	"weir/internal/control/hold"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/retention"
)

// lived makes a data directory in which a weir has run: a control store with
// its tables.
func lived(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	db, err := sqldb.Open(t.Context(), DataDir(dir).controlURL())
	if err != nil {
		t.Fatal(err)
	}
	_, kerr := apikey.Open(t.Context(), db)
	_, herr := hold.Open(t.Context(), db)
	_, aerr := auditlog.Open(t.Context(), db)
	_, rerr := retention.Runs(t.Context(), db, 1)
	if err := errors.Join(kerr, herr, aerr, rerr, db.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a command line as main does, and returns what it printed and how it
// ended.
func run(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var text strings.Builder
	engine := func(context.Context, []string, ...service.CLIOptFunc) (int, error) {
		return 0, errors.New("no engine here")
	}
	app := &cli.App{Name: "weir", HelpName: "weir", Commands: Verbs(fstest.MapFS{}, engine, nil), Writer: &text,
		ErrWriter:      &text,
		ExitErrHandler: func(*cli.Context, error) {}}
	err := app.RunContext(t.Context(), append([]string{"weir"}, args...))
	if err != nil {
		text.WriteString(err.Error())
	}
	return text.String(), ExitCode(err)
}

// tree is every file below a folder.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func schemaFile(t *testing.T) string { return file(t, t.TempDir(), "v.json", `{"type":"object"}`) }

// places are the command lines that look at a data directory, or change it,
// each without the flag that names it.
func places(t *testing.T) [][]string {
	return [][]string{
		{"reconcile"}, {"privacy", "scan"}, {"query"}, {"retention"}, {"retention", "--dry-run"},
		{"keys", "list"}, {"keys", "create", "--fleet", "acme"}, {"keys", "rotate", "--fleet", "acme"},
		{"keys", "revoke", "x"},
		{"hold", "list"}, {"hold", "add", "--fleet", "acme", "--reason", "x"}, {"hold", "release", "--fleet", "acme"},
		{"block", "list", "--fleet", "acme"}, {"block", "lift", "--fleet", "acme", "--device", "d"},
		{"block", "put", "--fleet", "acme", "--device", "d", "--reason", "x"},
		{"consent", "list", "--fleet", "acme", "--subject", "s"},
		{"consent", "grant", "--fleet", "acme", "--subject", "s", "--purpose", "ads"},
		{"identity", "show", "--fleet", "acme", "--subject", "s"},
		{"identity", "link", "--fleet", "acme", "--anonymous", "a", "--user", "u"},
		{"export-subject", "--fleet", "acme", "--person", "p", "--reason", "x"},
		{"erase", "--fleet", "acme", "--reason", "x"}, {"erase", "--watch", "x"},
		{"replay", "--mode", "redrive", "--reason", "x"}, {"replay", "--watch", "x"},
		{"schema", "check", schemaFile(t)}, {"schema", "register", schemaFile(t)},
	}
}

func TestPlace_WhereNoWeirLivesNothingIsMade(t *testing.T) {
	for _, name := range []string{envControl, "WEIR_DATA", "WEIR_BROKERS", "WEIR_RAW_URL", "WEIR_API_URL",
		"WEIR_REGISTRY_URL"} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	there := t.TempDir()
	other := file(t, there, "no-folder", "")
	before := tree(t, there)
	for _, args := range places(t) {
		for _, dir := range []string{filepath.Join(there, "typo"), there, other} {
			out, code := run(t, append(args, "--data", dir)...)
			if code != exitUsage || !strings.Contains(out, "no weir in "+dir) || !strings.Contains(out, "weir up --data") {
				t.Errorf("%v on %s: %d %s", args, dir, code, out)
			}
			if after := tree(t, there); after != before {
				t.Fatalf("%v made files:\n%s", args, after)
			}
		}
	}
	for _, args := range [][]string{
		{"keys", "create", "--fleet", "acme", "--store", "sqlite://" + there + "/typo.db"},
		{"hold", "list", "--store", "sqlite://" + there + "/typo/typo.db"},
		{"query", "--raw", "file://" + there + "/typo"},
		{"schema", "register", schemaFile(t), "--registry", "sqlite://" + there + "/typo.db"},
	} {
		if out, code := run(t, args...); code != exitUsage || !strings.Contains(out, "there is no store") {
			t.Errorf("%v: %d %s", args, code, out)
		}
		if after := tree(t, there); after != before {
			t.Fatalf("%v made files:\n%s", args, after)
		}
	}
}

func TestPlace_ReadingWritesNothing(t *testing.T) {
	dir := lived(t)
	before := tree(t, dir)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(dir, 0o700) }() // for the cleaning up
	for _, args := range [][]string{{"keys", "list"}, {"hold", "list"}, {"retention"}, {"query"}} {
		if out, code := run(t, append(args, "--data", dir)...); code != 0 {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	if after := tree(t, dir); after != before {
		t.Errorf("reading made files:\n%s", after)
	}
}

func TestPlace_ActsForAFleetNobodyKnowsNeedForce(t *testing.T) {
	dir := lived(t)
	acts := [][]string{{"hold", "add", "--fleet", "acme", "--reason", "x"}, {"keys", "rotate", "--fleet", "acme"}}
	for _, args := range acts {
		if out, code := run(t, append(args, "--data", dir)...); code != exitUsage || !strings.Contains(out, "--force") {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	if out, code := run(t, "keys", "create", "--fleet", "acme", "--data", dir); code != 0 {
		t.Fatal(out)
	}
	for _, args := range acts {
		if out, code := run(t, append(args, "--data", dir)...); code != 0 {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	if out, code := run(t, "hold", "add", "--fleet", "other", "--reason", "x", "--force", "--data", dir); code != 0 {
		t.Error(out)
	}
}

// leaves are the commands that do something, by their words.
func leaves(cmds []*cli.Command, above []string, each func([]string, *cli.Command)) {
	for _, c := range cmds {
		path := append(append([]string(nil), above...), c.Name)
		if len(c.Subcommands) > 0 {
			leaves(c.Subcommands, path, each)
			continue
		}
		each(path, c)
	}
}

func TestStrict_BadUsageOfEveryCommandEndsWith2(t *testing.T) {
	t.Chdir(t.TempDir())
	bad := func(args ...string) {
		t.Helper()
		if out, code := run(t, args...); code != exitUsage || out == "" {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	leaves(Verbs(fstest.MapFS{}, nil, nil), nil, func(path []string, c *cli.Command) {
		with := func(args ...string) []string { return append(append([]string(nil), path...), args...) }
		bad(with("--bogus")...)
		bad(with("stray", "argument")...)
		for _, f := range c.Flags {
			name := "--" + f.Names()[0]
			switch f.(type) {
			case *cli.IntFlag, *cli.Int64Flag, *cli.Float64Flag:
				bad(with(name, "-1")...)
				bad(with(name, "many")...)
			case *cli.DurationFlag:
				bad(with(name, "-1h")...)
				bad(with(name, "soon")...)
			case *cli.TimestampFlag:
				bad(with(name, "yesterday")...)
			}
		}
	})
	for _, args := range [][]string{
		{"keys", "bogus"}, {"hold", "bogus"}, {"schema", "check"}, {"keys", "revoke"}, {"keys", "create"},
		{"hold", "add", "--fleet", "acme"}, {"keys", "rotate"}, {"keys", "rotate", "--fleet", ""}, {"topics", "create"},
		{"query", "--format", "xml"}, {"query", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"},
		{"query", "--device", "a b"}, {"fleet", "--key", "x", "--format", "xml"}, {"fleet"},
		{"fleet", "--key", "x", "--batch", "1000"},
		{"fleet", "--key", "x", "--malformed", "200"}, {"fleet", "--key", "x", "--rate", "NaN"},
		{"replay", "--mode", "bogus"}, {"replay", "--mode", "redrive", "--code", "bogus", "--reason", "x"},
		{"replay", "--from", "yesterday"},
		{"replay", "--mode", "redrive"}, {"replay", "--target", "bogus", "--mode", "redrive", "--reason", "x"},
		{"erase"}, {"erase", "--fleet", "acme"}, {"retention", "--at", "2026-01-01T00:00:00Z"},
		{"topics", "create", "--brokers", "127.0.0.1:1", "--profile", "bogus"}, {"topics", "create", "--brokers",
			"127.0.0.1:1", "--replicas", "0"},
		{"topics", "create", "--brokers", "127.0.0.1:1", "--sasl-mechanism", "bogus", "--sasl-user", "x"},
		{"schema", "check", "no-such-file.json"}, {"schema", "check", schemaFile(t), "--registry", "file:///x",
			"--compatibility", "bogus"},
		{"schema", "check", schemaFile(t), "--registry", "file:///x", "--policy", "bogus"},
		{"reconcile", "--brokers", "127.0.0.1:1"}, {"reconcile", "--wait", "-1s"}, {"erase", "--api", "http://127.0.0.1:1",
			"--fleet", "a", "--reason", "x"},
		{"detect", "--series", ".", "--window", "1s"}, {"detect"},
		{"up", "--ingest", "127.0.0.1:8080", "--api", "127.0.0.1:8080"}, {"up", "--ingest", "0.0.0.0:8080", "--ops",
			"127.0.0.1:8080"},
		{"up", "--api", "127.0.0.1"}, {"up", "--api", "127.0.0.1:no-port"},
	} {
		bad(args...)
	}
	if made := tree(t, "."); made != "." {
		t.Errorf("bad usage made files:\n%s", made)
	}
}

func TestExitCode_OfWhatCannotBeDoneIs3(t *testing.T) {
	for want, err := range map[int]error{0: nil, 1: cli.Exit("", exitFinding), 3: io.ErrUnexpectedEOF} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v ends with %d, want %d", err, got, want)
		}
	}
	set := flag.NewFlagSet("x", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Int("n", 0, "")
	for _, args := range [][]string{{"--bogus"}, {"--n"}, {"--n", "many"}, {"---n"}} {
		if err := set.Parse(args); ExitCode(err) != exitUsage { // as the engine's commands return it
			t.Errorf("%v: %v ends with %d", args, err, ExitCode(err))
		}
	}
	if out, code := run(t, "fleet", "--url", "http://127.0.0.1:1", "--key", "x", "--events", "1", "--quiet"); code == 0 ||
		code == exitUsage {
		t.Errorf("%d %s", code, out)
	}
}
