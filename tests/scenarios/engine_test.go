package scenarios

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A single stream runs beside `weir up` with the shipped profile and its relative paths, as configs/standalone.env
// says.
func TestEngine_OneStreamRunsBesideUp(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	raw, err := os.ReadFile(repo("configs/standalone.env"))
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.ReplaceAll(raw, []byte("127.0.0.1:9092"), []byte(s.addresses[3]))
	raw = bytes.ReplaceAll(raw, []byte("pebble://data/claims"), []byte("memory://")) // locked by weir up
	profile := filepath.Join(s.dir, "standalone.env")
	if err := os.WriteFile(profile, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{"raw", "dead_letter"} {
		ops := freeAddress(t)
		var log bytes.Buffer
		cmd := exec.Command(s.bin, "run", "--set", "http.address="+ops, "-e", profile,
			repo("configs/streams/"+stream+".yaml"))
		cmd.Dir = s.dir
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ready := false // input and output are connected
		for deadline := time.Now().Add(time.Minute); !ready && time.Now().Before(deadline); {
			if resp, err := http.Get("http://" + ops + "/ready"); err == nil {
				ready = resp.StatusCode == http.StatusOK
				resp.Body.Close()
			}
			time.Sleep(20 * time.Millisecond)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || !ready || strings.Contains(log.String(), "level=error") {
			t.Errorf("running %s beside weir up: ready: %t, %v\n%s", stream, ready, err, log.String())
		}
	}
	s.stop()
}

// The engine's own commands know weir's components and profiles.
func TestEngine_CommandsKnowTheDistribution(t *testing.T) {
	s := newSystem(t)
	for _, args := range [][]string{
		{"create", "gate/schema_validate/event_log"}, {"create", "log_input/event_dedupe/raw_store"},
		{"create", "alert_notices//dead_letters"},
		{"lint", repo("configs/streams/raw.yaml"), repo("configs/service.yaml")}, {"lint", repo("configs/streams/...")},
		{"test", repo("tests/configs/raw.yaml")}, {"test", "-e", repo("configs/standalone.env"),
			repo("tests/configs/raw.yaml")},
		{"test", "-e", repo("configs/cluster.env"), repo("tests/configs/raw.yaml")},
		{"echo", "-e", repo("configs/standalone.env"), repo("configs/streams/raw.yaml")},
	} {
		if _, err := s.weir(args...); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) > 0 {
		t.Errorf("they leave %v here (%v)", entries, err)
	}
	config := filepath.Join(t.TempDir(), "changed.yaml")
	raw, err := os.ReadFile(repo("configs/streams/ingest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"max_records: lots", "max_age: 2 hours", "max_age: -1h"} {
		key, _, _ := strings.Cut(wrong, " ")
		var lines []string
		for line := range strings.Lines(string(raw)) {
			if i := strings.Index(line, key); i >= 0 {
				line = line[:i] + wrong + "\n"
			}
			lines = append(lines, line)
		}
		if err := os.WriteFile(config, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.weir("lint", config); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(key, ":")) {
			t.Errorf("lint says nothing of %q: %v", wrong, err)
		}
	}
	typo := filepath.Join(t.TempDir(), "typo.env")
	if err := os.WriteFile(typo, []byte("WEIR_RAW_PERIDO=1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.weir("lint", "-e", typo, repo("configs/streams/raw.yaml")); err == nil || !strings.Contains(err.Error(),
		"WEIR_RAW_PERIOD") {
		t.Errorf("a typo in an env file: %v", err)
	}
}
