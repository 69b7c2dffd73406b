package scenarios

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every command, those of the engine included, ends with the exit code that docs/commands.md names and reports its
// error once, in weir's words.
func TestExit_EveryCommandEndsAsTheTableSays(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.write("wrong.yaml", "input: {}\nnothing: 1\n")
	s.write("bound.yaml", "input: {generate: {mapping: 'root = {}'}}\n"+
		"output: {raw_store: {url: 'mem://', max_object_rows: -5}}\n")
	s.write("broken.env", "no assignment\n")
	s.write("broken.blobl", "root = \n")
	s.write("right.yaml", "input: {generate: {mapping: 'root = {}'}}\noutput: {drop: {}}\n")
	s.write("tested.yaml", "pipeline: {processors: [{mapping: root = this}]}\ntests:\n- {name: a, target_processors: "+
		"/pipeline/processors, input_batch: [{content: '{}'}], output_batches: [[{json_equals: {a: 1}}]]}\n")
	raw := repo("configs/streams/raw.yaml")
	template := repo("configs/templates/log_output.yaml")
	for _, c := range []struct {
		code int
		says string // a part of the output
		args []string
	}{
		{0, "weir up", nil}, {0, "weir up", []string{"--help"}}, {0, "weir up", []string{"help"}},
		{0, "Redpanda Connect", []string{"--version"}}, {0, "weir ", []string{"-v"}},
		{2, "no command", []string{"bogus"}}, {2, "no flag", []string{"--bogus"}},
		{2, "no command", []string{"help", "bogus"}},
		{2, "no command", []string{"studio"}}, {2, "no command", []string{"studio", "pull"}},
		{2, "weir run FILE", []string{"-c", raw}}, {2, "none.env", []string{"-e", "none.env", "list"}},

		{0, "gate", []string{"list", "inputs"}}, {2, `"bogus"`, []string{"list", "bogus"}},
		{2, `"bogus"`, []string{"list", "--format", "bogus"}}, {2, `"bogus"`, []string{"list", "--status", "bogus"}},
		{2, "-bogus", []string{"list", "--bogus"}}, {0, "uuid_v4", []string{"list", "--format", "jsonschema",
			"bloblang-functions", "uuid_v4"}},
		{0, "raw_store", []string{"create", "log_input//raw_store"}}, {0, "stdin", []string{"create"}},
		{2, "foo", []string{"create", "foo"}}, {2, "more", []string{"create", "stdin", "more"}},
		{2, "none.env", []string{"create", "-e", "none.env"}},
		{0, `{"b":1}`, []string{"blobl", "root.b = this.a"}},
		{0, `{"b":1}`, []string{"blobl", "root.b = this.a", "--raw=false"}},
		{2, "one mapping", []string{"blobl"}}, {2, "one mapping", []string{"blobl", "root = this", "-f", "broken.blobl"}},
		{2, "none.blobl", []string{"blobl", "-f", "none.blobl"}},
		{2, "expected query", []string{"blobl", "-f", "broken.blobl"}},
		{2, "none.jsonl", []string{"blobl", "-i", "none.jsonl", "root = this"}},
		{0, "", []string{"template", "lint", template}}, {2, "bogus", []string{"template", "bogus"}},
		{2, "nope.yaml", []string{"template", "lint", "nope.yaml"}}, {2, "none at", []string{"template", "lint"}},
		{1, "right.yaml", []string{"template", "lint", "right.yaml"}},

		{0, "", []string{"lint", raw}}, {1, "nothing", []string{"lint", "wrong.yaml"}},
		{1, "reading field max_object_rows: expected more than zero", []string{"lint", "bound.yaml"}},
		{2, "nope.yaml", []string{"lint", "nope.yaml"}}, {2, "none at", []string{"lint"}},
		{2, "nope*.yaml", []string{"lint", "nope*.yaml"}}, {2, "none.env", []string{"lint", "-e", "none.env", raw}},
		{2, "line 1", []string{"lint", "-e", "broken.env", raw}}, {2, "none.yaml", []string{"lint", "-t", "none.yaml", raw}},
		{2, "none.yaml", []string{"lint", "-r", "none.yaml", raw}}, {2, "-bogus", []string{"lint", "--bogus", raw}},
		{0, "", []string{"test", repo("tests/configs/raw.yaml")}}, {1, "failed", []string{"test", "tested.yaml"}},
		{2, "nope.yaml", []string{"test", "nope.yaml"}}, {2, "none at", []string{"test"}},
		{0, "generate", []string{"echo", "right.yaml"}}, {2, "nope.yaml", []string{"echo", "nope.yaml"}},
		{2, "was given 0", []string{"echo"}},
		{2, "nope.yaml", []string{"run", "nope.yaml"}}, {2, "was given 0", []string{"run"}},
		{2, "was given 2", []string{"run", raw, "right.yaml"}}, {2, "none.env", []string{"run", "-e", "none.env", raw}},
		{2, "FIELD=VALUE", []string{"run", "--set", "foo", "right.yaml"}},
		{3, "expected more than zero", []string{"run", "bound.yaml"}},
		{2, "name at least one", []string{"streams"}}, {2, "nope.yaml", []string{"streams", "nope.yaml"}},
		{2, "nope.yaml", []string{"streams", "-o", "nope.yaml", raw}},
		{3, "expected more than zero", []string{"streams", "bound.yaml"}},

		{2, "--home", []string{"up", "--home", filepath.Join(s.dir, "none")}}, {2, "more", []string{"up", "more"}},
		{2, "HOST:PORT", []string{"up", "--ingest", "nope"}}, {2, "loopback", []string{"up", "--broker", "0.0.0.0:9092"}},
		{2, "no weir in", []string{"query", "--data", "typo"}}, {2, "no weir in", []string{"keys", "list"}},
		{2, "bogus", []string{"keys", "bogus"}}, {2, "bogus", []string{"completion", "bogus"}},
		{0, "complete", []string{"completion", "bash"}},
		{3, "refused", []string{"schema", "check", "--registry", "http://127.0.0.1:1",
			repo("schemas/telemetry/v1.json")}},
	} {
		cmd := exec.Command(s.bin, c.args...)
		cmd.Dir = s.dir
		cmd.Stdin = strings.NewReader(`{"a":1}` + "\n")
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		said := string(out)
		if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(said, c.says) {
			t.Errorf("weir %s\nends with %d and says\n%.2000s\nwant %d and %s", strings.Join(c.args, " "),
				cmd.ProcessState.ExitCode(), said, c.code, c.says)
		}
		for _, theirs := range []string{"enthos", "mundane", "Date:", "NAME:"} {
			if c.code != 0 && strings.Contains(said, theirs) {
				t.Errorf("weir %s speaks of %q:\n%.2000s", strings.Join(c.args, " "), theirs, said)
			}
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("they leave %v here (%v)", entries, err)
	}
}

func (s *system) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// A process whose streams serve no requests skips the drain delay, and its clean stop logs no warning.
func TestStop_AProcessWithoutRequestsEndsAtOnce(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	ops := freeAddress(t)
	password, err := os.ReadFile(filepath.Join(s.data, "broker.password"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"streams", "-o", repo("configs/service.yaml"), repo("configs/streams/dead_letter.yaml")},
		{"run", "--set", "http.address=" + ops, repo("configs/streams/dead_letter.yaml")},
	} {
		var log bytes.Buffer
		cmd := exec.Command(s.bin, command...)
		cmd.Dir = s.dir
		cmd.Stdout, cmd.Stderr = &log, &log
		cmd.Env = append(os.Environ(), "WEIR_DRAIN=10m", "WEIR_OPS_ADDRESS="+ops, "WEIR_BROKERS="+s.addresses[3],
			"WEIR_KAFKA_SASL=SCRAM-SHA-512", "WEIR_KAFKA_USER=weir", "WEIR_KAFKA_PASSWORD="+strings.TrimSpace(string(password)),
			"WEIR_DEAD_LETTER_URL=mem://")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			resp, err := http.Get("http://" + ops + "/ready")
			if err == nil {
				_ = resp.Body.Close()
			}
			if err == nil && resp.StatusCode == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				_ = cmd.Process.Kill()
				t.Fatalf("weir %s is not ready: %v\n%s", command[0], err, log.String())
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil || strings.Contains(log.String(), "level=warning") || strings.Contains(log.String(), "level=error") {
				t.Errorf("weir %s, stopped: %v\n%s", command[0], err, log.String())
			}
		case <-time.After(2 * time.Minute):
			_ = cmd.Process.Kill()
			t.Fatalf("weir %s still runs\n%s", command[0], log.String())
		}
	}
	s.stop()
}
