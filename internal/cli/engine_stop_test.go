package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A process runs on after SIGTERM where it takes requests, and its config leaves
// that to WEIR_DRAIN.
func TestStop_OnlyWhatTakesRequestsWaits(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gate := file("gate.yaml", "input:\n  label: x\n  gate: {}\n")
	api := file("api.yaml", "input:\n  api:\n    control: x\n")
	raw := file("raw.yaml", "input:\n  log_input: {}\noutput:\n  raw_store: {}\n")
	own := file("own.yaml", "input:\n  gate: {}\nshutdown_delay: 7s\n")
	ours := file("service.yaml", "shutdown_delay: ${WEIR_DRAIN:1s} # c\n")
	theirs := file("theirs.yaml", "shutdown_delay: 9s\n")
	for _, c := range []struct {
		name, drain string
		l           launch
		want        string
	}{
		{"a gate", "5s", launch{verb: "run", configs: []string{gate}}, "--set shutdown_delay=5s"},
		{"an api", "5s", launch{verb: "run", configs: []string{api}}, "--set shutdown_delay=5s"},
		{"a gate without the variable", "", launch{verb: "run", configs: []string{gate}}, ""},
		{"a gate that says so itself", "5s", launch{verb: "run", configs: []string{own}}, ""},
		{"a store", "5s", launch{verb: "run", configs: []string{raw}}, ""},
		{"several with a gate", "5s", launch{verb: "streams", main: ours, configs: []string{raw, gate}}, ""},
		{"several without", "5s", launch{verb: "streams", main: ours, configs: []string{raw}}, "--set shutdown_delay=0s"},
		{"several without, by default", "", launch{verb: "streams", main: ours, configs: []string{raw}},
			"--set shutdown_delay=0s"},
		{"several whose delay is their own", "5s", launch{verb: "streams", main: theirs, configs: []string{raw}}, ""},
		{"a folder with a gate", "5s", launch{verb: "streams", main: ours, configs: []string{dir}}, ""},
		{"another command", "5s", launch{verb: "echo", configs: []string{gate}}, ""},
	} {
		t.Setenv(drainVariable, c.drain)
		if got, err := shutdownDelay(c.l); err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	t.Setenv(drainVariable, "soon")
	if _, err := shutdownDelay(launch{verb: "run", configs: []string{gate}}); ExitCode(err) != exitUsage {
		t.Errorf("no duration: %v", err)
	}
}
