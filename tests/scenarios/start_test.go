package scenarios

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// said returns the log of weir so far.
func (s *system) said() string {
	s.t.Helper()
	said, err := os.ReadFile(filepath.Join(s.dir, "up.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(said)
}

// greeted waits until weir has logged "weir is ready." n times, and returns the log. The line comes after the first
// keys exist.
func (s *system) greeted(n int) string {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		said := s.said()
		if strings.Count(said, "weir is ready.") >= n {
			return said
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("weir has not said %d times that it is ready:\n%s", n, said)
		}
	}
}

// The log of a start is short and ends with the line that weir is ready; a clean run logs no warning.
func TestStart_IsQuietAndEndsWithReady(t *testing.T) {
	s := newSystem(t)
	s.start()
	s.ready()
	said := s.greeted(1)
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if len(lines) > 40 || strings.Contains(said, "is now active") {
		t.Errorf("a start says %d lines:\n%s", len(lines), said)
	}
	if last := strings.Join(lines[max(0, len(lines)-3):], "\n"); !strings.Contains(last, "weir is ready.") {
		t.Errorf("a start ends with\n%s", last)
	}
	s.createKey()
	_, wait := s.fleet("--devices", "5", "--rate", "50", "--duration", "2s")
	wait()
	s.stop()
	for _, line := range strings.Split(s.said(), "\n") {
		if strings.Contains(line, "level=warning") || strings.Contains(line, "level=error") ||
			strings.Contains(line, `level=WARN`) {
			t.Errorf("a clean run complains: %s", line)
		}
	}
}

// The top-level help lists every command once, without the engine's phrases.
func TestHelp_NamesEveryCommand(t *testing.T) {
	s := newSystem(t)
	help, err := s.weir("--help")
	if err != nil || strings.Contains(help, "mundane") || !strings.Contains(help, "weir up") {
		t.Fatalf("%s %v", help, err)
	}
	raw, err := s.weir("--help-autocomplete")
	if err != nil {
		t.Fatal(err)
	}
	var commands []struct{ Path string }
	if err := json.Unmarshal([]byte(raw), &commands); err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, c := range commands {
		parts := strings.Split(c.Path, "_")
		if len(parts) != 2 || parts[1] == "help" {
			continue
		}
		named++
		if n := strings.Count(help, "\n  "+parts[1]+" "); n != 1 && parts[1] != "up" {
			t.Errorf("the help names %s %d times", parts[1], n)
		}
	}
	if named < 20 {
		t.Errorf("only %d commands were looked for in the help", named)
	}
	if bare, err := s.weir(); err != nil || bare != help {
		t.Errorf("without a command: %s %v", bare, err)
	}
	if _, err := s.weir("bogus"); err == nil || !strings.Contains(err.Error(), `"bogus"`) {
		t.Errorf("a command that does not exist: %v", err)
	}
}

// Each shell accepts its completion script, which also completes subcommands.
func TestCompletion_IsTakenByTheShell(t *testing.T) {
	s := newSystem(t)
	for shell, try := range map[string]string{
		"bash": `COMP_WORDS=(weir keys cr); COMP_CWORD=2; _weir; echo "${COMPREPLY[@]}"; COMP_WORDS=(weir keys create --fl); COMP_CWORD=3; _weir; echo "${COMPREPLY[@]}"`,
		"zsh":  `COMP_WORDS=(weir keys cr); whence -w _weir`,
		"fish": `complete -C "weir keys cr"; complete -C "weir keys create --fl"`,
	} {
		script, err := s.weir("completion", shell)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue // the shell is not installed: only the output was checked
		}
		out, err := exec.Command(shell, "-c", script+"\n"+try).CombinedOutput()
		if err != nil || shell != "zsh" && (!strings.Contains(string(out), "create") || !strings.Contains(string(out),
			"--fleet")) {
			t.Errorf("%s: %s %v", shell, out, err)
		}
	}
}
