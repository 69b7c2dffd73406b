package scenarios

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
)

// The health check of the image: exit code 0 if weir is ready, 1 if it does not run.
func TestHealth_IsThatOfTheRunningWeir(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	for _, args := range [][]string{{"--data", s.data}, {"--ready", "--data", s.data},
		{"--ready", "--ops", s.addresses[2]}} {
		if out, err := s.weir(append([]string{"health"}, args...)...); err != nil || strings.TrimSpace(out) != "OK" {
			t.Errorf("health %v: %q %v", args, out, err)
		}
	}
	s.stop()
	for _, args := range [][]string{{"--data", s.data}, {"--ready", "--ops", s.addresses[2]}} {
		_, err := s.weir(append([]string{"health"}, args...)...)
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("health %v of a weir that ended: %v, expected exit code 1", args, err)
		}
	}
}

// Every response of the operations server has the request's id, also a 404. /ready is 503 from SIGTERM on while the
// server keeps answering. A process does not start on an operations address that is in use: probes would reach the
// other process.
func TestHealth_IsToldToTheEndAndByAnId(t *testing.T) {
	s := newSystem(t)
	s.env = []string{"WEIR_DRAIN=10m"}
	s.start()
	s.ready()
	ask := func(path string) int {
		req, err := http.NewRequest(http.MethodGet, "http://"+s.addresses[2]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		own := strings.ReplaceAll(uuid.NewString(), "-", "")
		req.Header.Set("X-Request-Id", own)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if id := resp.Header.Values("X-Request-Id"); len(id) != 1 || id[0] != own {
			t.Errorf("%s is answered as %v, expected the client's id", path, id)
		}
		return resp.StatusCode
	}
	for path, want := range map[string]int{"/ping": 200, "/ready": 200, "/metrics": 200, "/version": 200,
		"/streams": 404} {
		if got := ask(path); got != want {
			t.Errorf("%s: %d, expected %d", path, got, want)
		}
	}
	config := filepath.Join(s.dir, "idle.yaml")
	if err := os.WriteFile(config, []byte("http: {address: '"+s.addresses[2]+
		"'}\ninput: {generate: {interval: 1h, mapping: 'root = {}'}}\noutput: {drop: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.weir("run", config); err == nil || !strings.Contains(err.Error(), "WEIR_OPS_ADDRESS") {
		t.Errorf("a second process on the same address: %v", err)
	}
	if err := s.up.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.until("/ready is 200 after SIGTERM", func() bool { return ask("/ready") == http.StatusServiceUnavailable })
	for _, path := range []string{"/ping", "/metrics"} {
		if got := ask(path); got != http.StatusOK {
			t.Errorf("%s in the wait of a stop: %d", path, got)
		}
	}
	s.stop()
}
