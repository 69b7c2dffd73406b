package scenarios

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The drill of docs/restore.md: the rollup store and the control store are destroyed. The rollups are rebuilt from
// the raw events and equal the old ones, the control store is restored from a copy, and devices go on with the keys
// they have.
func TestRestore_DestroyedRollupsComeBackEqual(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	_, wait := s.fleet("--devices", "50", "--rate", "1000", "--events", "5000", "--batch", "50", "--duplicates", "1",
		"--malformed", "1", "--late", "2", "--clock-ahead", "1", "--retry")
	t.Logf("weir fleet:\n%s", wait())
	s.drained()
	before := s.rollups(everyValue)
	s.stop()

	raw, err := os.ReadFile(repo("docs/restore.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := shell(string(raw))
	if len(commands) != 4 {
		t.Fatalf("docs/restore.md has %d commands: %q", len(commands), commands)
	}
	for _, command := range commands[:2] {
		cmd := exec.Command("sh", "-ec", command)
		cmd.Dir = s.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(s.data, "rollups.db")); err == nil {
		t.Fatal("the rollups are still there")
	}
	s.start()
	s.ready()
	bin := t.TempDir()
	if err := os.Symlink(s.bin, filepath.Join(bin, "weir")); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	now := time.Now().UTC()
	times := strings.NewReplacer("2026-11-20T10:00:00Z", now.AddDate(0, 0, -2).Format(time.RFC3339),
		"2026-11-20T11:00:00Z", now.Add(time.Hour).Format(time.RFC3339))
	s.answered(times.Replace(commands[2]), "done: ", env)
	s.sameRollups(before, everyValue, "after the rebuild")
	s.answered(commands[3], "Every record is explained", env)

	_, wait = s.fleet("--devices", "10", "--rate", "100", "--events", "200", "--batch", "10", "--retry")
	t.Logf("weir fleet, with the key of before:\n%s", wait())
	s.drained()
	s.verify(90 * time.Second)
}
