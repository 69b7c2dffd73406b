package scenarios

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A config is a program: whatever takes configs over HTTP runs programs of
// whoever reaches it. No way of running the engine serves such an address.
func TestStreamAPI_IsServedByNoCommand(t *testing.T) {
	s := newSystem(t)
	config := filepath.Join(s.dir, "idle.yaml")
	if err := os.WriteFile(config, []byte("input: {generate: {interval: 1h, mapping: 'root = {}'}}\noutput: {drop: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"streams", "-o", repo("configs/service.yaml"), config},
		{"streams", "--no-api=false", "-o", repo("configs/service.yaml"), config},
		{"-c", repo("configs/service.yaml"), "streams", config},
		{"run", config},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) { refusesConfigs(t, s, args) })
	}
}

func refusesConfigs(t *testing.T, s *system, args []string) {
	address := "127.0.0.1:4195" // where `run` listens when nothing says otherwise
	cmd := exec.Command(s.bin, args...)
	if args[0] != "run" {
		address = s.addresses[2]
		cmd.Env = append(os.Environ(), "WEIR_OPS_ADDRESS="+address)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get("http://" + address + "/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("not ready within a minute")
		}
	}
	proof := filepath.Join(s.dir, "ran")
	for method, path := range map[string]string{http.MethodPost: "/streams/evil", http.MethodGet: "/streams", http.MethodPut: "/streams/evil"} {
		body := `{"input":{"generate":{"count":1,"mapping":"root = {}"}},"output":{"file":{"path":"` + proof + `","codec":"lines"}}}`
		req, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s %s answers %d: %s", method, path, resp.StatusCode, answer)
		}
	}
	time.Sleep(time.Second)
	if _, err := os.Stat(proof); err == nil {
		t.Error("a posted stream was run")
	}
}

// Programs and configs that arrive as data are run only where they are asked for.
func TestDistribution_LacksWhatRunsPrograms(t *testing.T) {
	s := newSystem(t)
	config := filepath.Join(s.dir, "command.yaml")
	if err := os.WriteFile(config, []byte("pipeline: {processors: [{command: {name: '\"true\"'}}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(s.bin, "lint", config).CombinedOutput(); err == nil {
		t.Errorf("command lints clean: %s", out)
	}
	cmd := exec.Command(s.bin, "lint", config)
	cmd.Env = append(os.Environ(), "WEIR_ALLOW_COMPONENTS=subprocess, command")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("asked for by name, it does not lint: %v\n%s", err, out)
	}
}
