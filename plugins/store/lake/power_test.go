package lake

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weir/tests/integration/require"
)

// TestLake_AnObjectIsSyncedBeforeItIsReported traces the system calls of a process
// that stores an object into a new folder, and holds their order: the content
// is synced before the rename makes it appear, and each folder that gained a
// name is synced before put returns. That order is what a power loss can not
// undo.
func TestLake_AnObjectIsSyncedBeforeItIsReported(t *testing.T) {
	if dir := os.Getenv("WEIR_TEST_PUT"); dir != "" { // the traced process
		s := opened(t, FileURL(dir))
		if err := s.PutBytes(context.Background(), "date=2026-11-20/stage=raw/x.parquet", []byte("content")); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(dir, "reported"))
		return
	}
	dir := filepath.Join(t.TempDir(), "store")
	trace, after := traced(t, "WEIR_TEST_PUT="+dir)
	reported := after(-1, "unlink", "/store/reported")
	content := after(-1, "fsync", "/store/_tmp/")
	appears := after(content, "rename", "/stage=raw/x.parquet")
	for what, safe := range map[string]int{
		"the day's folder":   after(after(-1, "mkdir", "/date=2026-11-20\""), "fsync", "/store>"),
		"the stage's folder": after(after(-1, "mkdir", "/stage=raw\""), "fsync", "/date=2026-11-20>"),
		"the object's name":  after(appears, "fsync", "/stage=raw>"),
	} {
		if safe > reported {
			t.Errorf("%s is not safe when the object is reported:\n%s", what, trace)
		}
	}
}

// TestLake_FoldersThatAnotherProcessHasMadeAreSyncedOnce traces a process that stores objects into
// folders that are there: who has made them may not have synced their names yet. A folder that was
// deleted and made anew is another one.
func TestLake_FoldersThatAnotherProcessHasMadeAreSyncedOnce(t *testing.T) {
	const folder = "events/date=2026-11-20/stage=raw"
	if dir := os.Getenv("WEIR_TEST_PUT_THERE"); dir != "" { // the traced process
		s := opened(t, FileURL(dir))
		for step, view := range []*Store{s, s, s.Below("events"), s} {
			if step == 3 {
				if err := os.RemoveAll(filepath.Join(dir, "events")); err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			key := folder + "/x.parquet"
			if view != s {
				key = strings.TrimPrefix(key, "events/")
			}
			if err := view.PutBytes(t.Context(), key, []byte("content")); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(filepath.Join(dir, "reported"+strconv.Itoa(step)))
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
		t.Fatal(err)
	}
	trace, after := traced(t, "WEIR_TEST_PUT_THERE="+dir)
	lines := strings.Split(trace, "\n")
	_, remembers := birthOf(dir)
	from := -1
	for step, times := range []int{1, 0, 0, 1} {
		reported := after(from, "unlink", "/store/reported"+strconv.Itoa(step))
		for _, parent := range []string{"/store>", "/store/events>", "/date=2026-11-20>"} {
			n := 0
			for _, line := range lines[from+1 : reported] {
				if strings.Contains(line, "fsync") && strings.Contains(line, parent) {
					n++
				}
			}
			if step == 0 && parent == "/store>" {
				n-- // for the folder of temporary files
			}
			if n < times || n > times && remembers {
				t.Errorf("object %d: %s was synced %d times, and not %d:\n%s", step, parent, n, times, trace)
			}
		}
		from = reported
	}
}

// traced runs the test that calls it in another process, with a variable, and returns which system
// calls that made. after returns the first line behind a line that has all the parts.
func traced(t *testing.T, env string) (trace string, after func(line int, parts ...string) int) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		require.Missing(t, "strace is not installed: tests/run.sh installs it")
	}
	var out bytes.Buffer
	cmd := exec.Command(strace, "-f", "-y", "-qq", "-e",
		"trace=fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat",
		os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		if strings.Contains(out.String(), "Operation not permitted") {
			require.Refused(t, "tracing is not allowed here: %s", out.String())
		}
		t.Fatalf("%v: %s", err, out.String())
	}
	lines := strings.Split(out.String(), "\n")
	return out.String(), func(line int, parts ...string) int {
		t.Helper()
		for i := line + 1; i < len(lines); i++ {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(lines[i], p) }) {
				return i
			}
		}
		t.Fatalf("never after line %d: %v in\n%s", line, parts, out.String())
		return -1
	}
}
