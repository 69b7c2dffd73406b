// Package browser tests the console of a real weir in a real Chromium, by clicks and keys.
package browser

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/integration/built"

	"github.com/google/uuid"
)

var binary built.Weir

func TestMain(m *testing.M) { binary.Main(m) }

// patience is the timeout of every wait; generous, because other machines are much slower.
const patience = 90 * time.Second

const fleet = "plant-1"

// weir is a 'weir up' on a data directory of its own, with an admin key and a key of a fleet.
type weir struct {
	t                       *testing.T
	bin, dir                string
	ingest, api, ops, kafka string // addresses
	up                      *exec.Cmd
	done                    chan struct{}
	admin, key              string // key has the scopes ingest, query and operate
	env                     []string
}

func start(t *testing.T) *weir {
	t.Helper()
	w := made(t)
	w.begin()
	return w
}

// made returns a weir that does not run yet.
func made(t *testing.T) *weir {
	t.Helper()
	tools(t) // skips before anything is started
	w := &weir{t: t, bin: binary.Path(t), dir: t.TempDir()}
	built.Addresses(t, &w.ingest, &w.api, &w.ops, &w.kafka)
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			raw, _ := os.ReadFile(filepath.Join(w.dir, "up.log"))
			t.Logf("the end of weir's log:\n%s", raw[max(0, len(raw)-1500):])
		}
	})
	return w
}

// begin starts weir, creates its keys and waits until the API knows them.
func (w *weir) begin() {
	w.t.Helper()
	w.run()
	w.admin = w.weir("keys", "create", "--admin", "--data", w.data())
	w.key = w.weir("keys", "create", "--fleet", fleet, "--scope", "ingest,query,operate", "--data", w.data())
	// The API re-reads keys only now and then.
	for _, key := range []string{w.admin, w.key} {
		w.await("the keys are known", func() bool { return w.status("GET", "/v1/alerts?limit=1", key, "") == http.StatusOK })
	}
}

func (w *weir) data() string { return filepath.Join(w.dir, "data") }

// run starts 'weir up' and waits until it is ready.
func (w *weir) run() {
	w.t.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	w.up = exec.Command(w.bin, "up", "--data", w.data(), "--ingest", w.ingest, "--api", w.api, "--ops", w.ops, "--broker",
		w.kafka)
	w.up.Dir, w.up.Stdout, w.up.Stderr = w.dir, log, log
	w.up.Env = append(os.Environ(), w.env...)
	if err := w.up.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.done = make(chan struct{})
	go func(up *exec.Cmd, done chan struct{}) { _ = up.Wait(); close(done) }(w.up, w.done)
	w.await("weir is ready", func() bool {
		resp, err := http.Get("http://" + w.ops + "/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		conn, err := net.Dial("tcp", w.ingest)
		if err != nil || resp.StatusCode != http.StatusOK {
			return false
		}
		conn.Close()
		return w.status("GET", "/healthz", "", "") == http.StatusNoContent
	})
}

func (w *weir) signal(s syscall.Signal) {
	w.t.Helper()
	if err := w.up.Process.Signal(s); err != nil {
		w.t.Fatal(err)
	}
}

// kill ends weir with SIGKILL.
func (w *weir) kill() {
	if w.up == nil {
		return
	}
	_ = w.up.Process.Kill() // it may have ended already
	<-w.done
	w.up = nil
}

// weir runs a command and returns its standard output. It fails the test if the command fails.
func (w *weir) weir(args ...string) string {
	w.t.Helper()
	cmd := exec.Command(w.bin, args...)
	cmd.Dir = w.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("weir %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// await polls until holds returns true. After the timeout it fails the test with what, the awaited state.
func (w *weir) await(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if holds() {
			return
		}
	}
	w.t.Fatalf("not within %s: %s", patience, what)
}

// ask sends a request to the API. The status is 0 if there is no answer.
func (w *weir) ask(method, path, key, body string) (int, []byte) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.api+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body) // a truncated answer fails where it is decoded
	return resp.StatusCode, raw
}

func (w *weir) status(method, path, key, body string) int {
	code, _ := w.ask(method, path, key, body)
	return code
}

// did sends a request that must succeed, and returns the fields of the JSON answer.
func (w *weir) did(method, path, key, body string) map[string]any {
	w.t.Helper()
	code, raw := w.ask(method, path, key, body)
	if code/100 != 2 {
		w.t.Fatalf("%s %s: %d %s", method, path, code, raw)
	}
	fields := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &fields); err != nil {
			w.t.Fatalf("%s %s: %v in %s", method, path, err, raw)
		}
	}
	return fields
}

// event returns a valid event, with some fields overridden.
func event(device string, at time.Time, fields map[string]any) map[string]any {
	e := map[string]any{"event_id": uuid.NewString(), "device_id": device, "device_firmware_version": "2.1.0",
		"timestamp": at.UTC().Format(time.RFC3339Nano),
		"metrics":   map[string]any{"cpu_temp": 61.5, "battery_voltage": 3.7, "vibration": 0.2}}
	for k, v := range fields {
		e[k] = v
	}
	return e
}

// post sends events and returns the gate's status. It retries while the gate does not know the key, is overloaded or
// cannot be reached.
func (w *weir) post(events ...any) int {
	w.t.Helper()
	raw, err := json.Marshal(events)
	if err != nil {
		w.t.Fatal(err)
	}
	var code int
	w.await("the gate takes events", func() bool { // the gate learns of new keys after a while
		r, err := http.NewRequestWithContext(w.t.Context(), "POST", "http://"+w.ingest+"/v1/events", bytes.NewReader(raw))
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("X-API-Key", w.key)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		resp.Body.Close()
		code = resp.StatusCode
		return code != http.StatusUnauthorized && code < 500 && code != http.StatusTooManyRequests
	})
	return code
}

// send simulates a fleet and waits until all its events are answered.
func (w *weir) send(args ...string) {
	w.t.Helper()
	w.load(args...).wait()
}

// sender is a running simulated fleet.
type sender struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
	err  error // valid once done is closed
}

// load starts a simulated fleet.
func (w *weir) load(args ...string) *sender {
	w.t.Helper()
	s := &sender{t: w.t, done: make(chan struct{})}
	s.cmd = exec.Command(w.bin, append([]string{"fleet", "--url", "http://" + w.ingest, "--quiet", "--retry"}, args...)...)
	s.cmd.Env = append(os.Environ(), "WEIR_KEY="+w.key)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	w.t.Cleanup(s.end)
	return s
}

// end kills the fleet.
func (s *sender) end() {
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.done
}

func (s *sender) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("the fleet has ended: %v", err)
	}
}

// wait waits until all its events are answered.
func (s *sender) wait() {
	s.t.Helper()
	if <-s.done; s.err != nil {
		s.t.Fatalf("weir fleet: %v\n%s", s.err, s.out.String())
	}
}

// raw sends a body that is not valid, and expects 400.
func (w *weir) raw(body []byte) {
	w.t.Helper()
	w.await("the gate answers", func() bool {
		r, err := http.NewRequestWithContext(w.t.Context(), "POST", "http://"+w.ingest+"/v1/events", bytes.NewReader(body))
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("X-API-Key", w.key)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusBadRequest
	})
}
