package scenarios

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/integration/built"
)

// node is one process of a cluster that runs one stream or role, or all of them ("*").
type node struct {
	c                *cluster
	name, stream     string
	ingest, api, ops string
	cmd              *exec.Cmd
	done             chan error
	began            int64 // offset in the log file at which the current run begins
}

// run starts a process for a stream, without waiting until it is ready.
func (c *cluster) run(name, stream string) *node {
	c.t.Helper()
	n := &node{c: c, name: name, stream: stream}
	built.Addresses(c.t, &n.ingest, &n.api, &n.ops)
	c.nodes[name] = n
	c.t.Cleanup(func() {
		n.kill()
		if c.t.Failed() {
			c.t.Logf("the end of %s's log:\n%s", name, tail(n.log(), 25))
		}
	})
	n.start()
	return n
}

func (n *node) log() string { return filepath.Join(n.c.sys.dir, n.name+".log") }

func (n *node) start() {
	n.c.t.Helper()
	f, err := os.OpenFile(n.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer f.Close()
	if n.began, err = f.Seek(0, io.SeekEnd); err != nil {
		n.c.t.Fatal(err)
	}
	streams := []string{n.stream}
	if n.stream == "*" {
		streams = nil
		listed, err := n.c.sys.weir("role")
		if err != nil {
			n.c.t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSpace(listed), "\n") {
			if i > 0 { // below the header
				streams = append(streams, strings.Fields(line)[0])
			}
		}
	}
	n.cmd = exec.Command(n.c.sys.bin, append([]string{"role", "-e", n.profile()}, streams...)...)
	n.cmd.Dir = n.c.sys.dir // outside a checkout: configs and schemas come from the binary
	n.cmd.Stdout, n.cmd.Stderr = f, f
	if err := n.cmd.Start(); err != nil {
		n.c.t.Fatal(err)
	}
	n.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(n.cmd, n.done)
}

// profile writes the shipped cluster profile with the addresses of this test into an env file, and returns its path.
func (n *node) profile() string {
	n.c.t.Helper()
	brokers := n.c.brokers
	if n.stream == "ingest" || n.name == "one" { // the nodes that tests cut off from Kafka
		brokers = n.c.kafka.addr
	}
	env := append(profile(n.c.t), "WEIR_BROKERS="+brokers, "WEIR_INGEST_ADDRESS="+n.ingest, "WEIR_API_ADDRESS="+n.api,
		"WEIR_OPS_ADDRESS="+n.ops, "WEIR_RAW_URL="+n.c.raw, "WEIR_DEAD_LETTER_URL="+n.c.deadLetter,
		"WEIR_ROLLUP_URL="+n.c.rollups, "WEIR_CONTROL_URL="+n.c.control, "WEIR_SCHEMAS_URL="+n.c.control,
		"WEIR_CLAIMS_URL="+n.c.claims, "WEIR_RAW_PERIOD=1s", "WEIR_ROLLUP_PERIOD=500ms", "WEIR_DEAD_LETTER_PERIOD=1s",
		"WEIR_SESSION_TIMEOUT=6s", "WEIR_DATA="+n.c.sys.data)
	path := filepath.Join(n.c.sys.dir, n.name+".env")
	if err := os.WriteFile(path, []byte(strings.Join(env, "\n")+"\n"), 0o600); err != nil {
		n.c.t.Fatal(err)
	}
	return path
}

// profile returns the lines of the shipped cluster profile, whose addresses the caller overrides.
func profile(t *testing.T) (env []string) {
	t.Helper()
	raw, err := os.ReadFile(repo("configs/cluster.env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	return env
}

// made reports whether the engine has created all streams. /ready alone is not enough: it covers only the streams
// that exist, and is 200 before the first.
func (n *node) made() bool {
	n.c.t.Helper()
	raw, err := os.ReadFile(n.log())
	if err != nil {
		n.c.t.Fatal(err)
	}
	return bytes.Contains(raw[n.began:], []byte("in streams mode"))
}

func (n *node) ready() {
	n.c.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-n.done:
			n.cmd = nil
			n.c.t.Fatalf("%s ended by itself: %v", n.name, err)
		default:
		}
		made := n.made() // read before the request: a 200 that follows covers every stream
		if resp, err := http.Get("http://" + n.ops + "/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK && made {
				return
			}
		}
	}
	n.c.t.Fatalf("%s was not ready after a minute", n.name)
}

func (n *node) stop() {
	n.c.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.c.t.Fatalf("stopping %s: %v", n.name, err)
	}
	select {
	case err := <-n.done:
		n.cmd = nil
		if err != nil {
			n.c.t.Fatalf("%s after SIGTERM: %v", n.name, err)
		}
	case <-time.After(time.Minute):
		n.c.t.Fatalf("%s did not end within a minute after SIGTERM", n.name)
	}
}

func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may have ended already
	<-n.done
	n.cmd = nil
}

// serves reports whether a line of the node's metrics has the given beginning.
func (n *node) serves(begins string) bool {
	n.c.t.Helper()
	resp, err := http.Get("http://" + n.ops + "/metrics")
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return bytes.Contains(raw, []byte("\n"+begins))
}
