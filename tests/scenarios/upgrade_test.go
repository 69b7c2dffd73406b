package scenarios

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// landedBefore is a commit that was in use: what it has written, this weir takes
// over. Move it on with each release.
const landedBefore = "0486cca79a543393317fbc0e0c81fb040e393ceb"

// olderWeir is the binary of a weir that was in use before this one: the one that
// WEIR_OLDER_BINARY names, or one built from the history.
func olderWeir(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("WEIR_OLDER_BINARY"); path != "" {
		return path
	}
	dir := t.TempDir()
	tree := exec.Command("git", "-C", repo("."), "archive", "-o", filepath.Join(dir, "older.tar"), landedBefore)
	if out, err := tree.CombinedOutput(); err != nil {
		require.Refused(t, "there is no commit %s here, as in a clone without history: name an older weir by "+
			"WEIR_OLDER_BINARY: %v\n%s", landedBefore, err, out)
	}
	source, path := filepath.Join(dir, "source"), filepath.Join(dir, "weir")
	if err := os.Mkdir(source, 0o700); err != nil {
		t.Fatal(err)
	}
	unpack := exec.Command("tar", "-x", "-f", filepath.Join(dir, "older.tar"), "-C", source)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking the older weir: %v\n%s", err, out)
	}
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0") // most of it has been compiled so
	if out, err := build.CombinedOutput(); err != nil {
		require.Refused(t, "the older weir cannot be built here, as where its modules cannot be had: %v\n%s", err, out)
	}
	return path
}

// What docs/upgrade.md says of one machine: the older weir is stopped while devices
// send, and this one goes on with its data directory: its log, stores,
// claims, keys and configs.
func TestUpgrade_ThisWeirGoesOnWhereAnOlderOneWas(t *testing.T) {
	older := olderWeir(t)
	s := newSystem(t)
	newer := s.bin
	s.bin = older
	s.start()
	s.ready()
	s.createKey()
	s.bin = newer
	load := []string{"--devices", "40", "--rate", "500", "--events", "5000", "--batch", "20", "--duplicates", "1",
		"--malformed", "1", "--late", "2", "--retry", "--retry-for", "10m", "--timeout", "15s"}

	_, wait := s.fleet(load...)
	taken := func(n int64) func() bool {
		return func() bool { return s.metric("weir_gate_accepted_events_total") > n }
	}
	s.until("the older weir has taken events in", taken(1000))
	s.stop()
	s.start()
	s.ready()
	t.Logf("weir fleet, over a stop:\n%s", wait())
	s.verify(2 * time.Minute)
	s.reconcile()
}
