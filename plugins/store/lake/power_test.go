package lake

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/tests/integration/require"
)

// The test traces the system calls of a process that stores an object in a new folder, and checks
// their order: the content is synced before the rename that makes the object visible, and each
// folder with a new entry is synced before put returns. So a power loss neither leaves half an
// object nor loses one that was reported as stored.
func TestLake_AnObjectIsSyncedBeforeItIsReported(t *testing.T) {
	if dir := os.Getenv("WEIR_TEST_PUT"); dir != "" { // the traced process
		s := opened(t, FileURL(dir))
		if err := s.PutBytes(context.Background(), "date=2026-11-20/stage=raw/x.parquet", []byte("content")); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(dir, "reported")) // there is no such file: the call marks the return in the trace
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		require.Missing(t, "strace is not installed: tests/run.sh installs it")
	}
	dir := filepath.Join(t.TempDir(), "store")
	var trace bytes.Buffer
	cmd := exec.Command(strace, "-f", "-y", "-qq", "-e",
		"trace=fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat",
		os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "WEIR_TEST_PUT="+dir)
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		if strings.Contains(trace.String(), "Operation not permitted") {
			require.Refused(t, "tracing is not allowed here: %s", trace.String())
		}
		t.Fatalf("%v: %s", err, trace.String())
	}
	lines := strings.Split(trace.String(), "\n")
	// after returns the first line after the given one that contains all parts.
	after := func(line int, parts ...string) int {
		t.Helper()
		for i := line + 1; i < len(lines); i++ {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(lines[i], p) }) {
				return i
			}
		}
		t.Fatalf("never after line %d: %v in\n%s", line, parts, trace.String())
		return -1
	}
	reported := after(-1, "unlink", "/store/reported")
	content := after(-1, "fsync", "/store/_tmp/")
	appears := after(content, "rename", "/stage=raw/x.parquet")
	for what, safe := range map[string]int{
		"the day's folder":   after(after(-1, "mkdir", "/date=2026-11-20\""), "fsync", "/store>"),
		"the stage's folder": after(after(-1, "mkdir", "/stage=raw\""), "fsync", "/date=2026-11-20>"),
		"the object's name":  after(appears, "fsync", "/stage=raw>"),
	} {
		if safe > reported {
			t.Errorf("%s is synced only after the object is reported as stored:\n%s", what, trace.String())
		}
	}
}
