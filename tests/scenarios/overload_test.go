package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/internal/simulate"
	"weir/tests/integration/require"
)

// Processing falls behind. The gate answers 429 with Retry-After before anything is at risk; devices that wait and
// retry all finish, and everything accepted is processed in the end.
func TestOverload_DevicesThatAreHeldBackFinish(t *testing.T) {
	s := newSystem(t)
	// The raw store commits every six seconds, and the gate allows a backlog of 3,000 records, which the fleet sends
	// in a second.
	s.env = []string{"WEIR_RAW_PERIOD=6s", "WEIR_MAX_BACKLOG_RECORDS=3000"}
	s.start()
	s.ready()
	s.createKey()
	_, wait := s.fleet("--devices", "300", "--rate", "3000", "--events", "30000", "--batch", "50", "--connections", "20",
		"--duplicates", "1", "--malformed", "1", "--retry", "--retry-for", "5m", "--json")
	var sum simulate.Summary
	if err := json.Unmarshal([]byte(wait()), &sum); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d sent, %d accepted, %d rejected, %d failed, %d sent again; answers %v; %.0f s",
		sum.Sent, sum.Accepted, sum.Rejected, sum.Failed, sum.Retried, sum.Answers, sum.Elapsed)
	if sum.Answers["http_429"] == 0 {
		t.Error("the gate never held devices back")
	}
	if sum.Failed != 0 {
		t.Errorf("%d events of devices that waited as told were never taken", sum.Failed)
	}
	s.verify(90 * time.Second)
}

// The disk fills up: weir refuses events while it still has room to store what it accepted, recovers by itself when
// there is room again, and loses nothing.
func TestOverload_FullDiskIsRefusedAndRecovers(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	if err := os.MkdirAll(s.data, 0o755); err != nil {
		t.Fatal(err)
	}
	const size = 400 << 20
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "weir-scenario",
		s.data).CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			require.Missing(t, "mount is not installed")
		}
		require.Refused(t, "no small disk can be made here, mounting a tmpfs needs root: %v: %s", err, out)
	}
	t.Cleanup(func() {
		s.kill()
		if err := syscall.Unmount(s.data, 0); err != nil {
			t.Errorf("unmounting %s: %v", s.data, err)
		}
	})
	s.env = []string{"WEIR_RAW_PERIOD=1s", "WEIR_ROLLUP_PERIOD=500ms"}
	s.start()
	s.ready()
	s.createKey()
	devices, wait := s.fleet("--devices", "200", "--rate", "500", "--duration", "1h", "--batch", "20", "--connections",
		"8",
		"--malformed", "1", "--retry", "--retry-for", "10m", "--json")
	time.Sleep(3 * time.Second)
	ballast := filepath.Join(s.data, "ballast")
	for _, left := range []uint64{100 << 20, 0} { // below the reserve that weir keeps; then full
		fill(t, ballast, s.data, left)
		time.Sleep(6 * time.Second)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	time.Sleep(8 * time.Second)
	if err := devices.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var sum simulate.Summary
	if err := json.Unmarshal([]byte(wait()), &sum); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d sent, %d accepted, %d failed, %d sent again; answers %v", sum.Sent, sum.Accepted, sum.Failed, sum.Retried,
		sum.Answers)
	if sum.Answers["http_503"]+sum.Answers["http_429"] == 0 {
		t.Error("nothing was refused on a full disk")
	}
	s.verify(90 * time.Second)
	s.stop()
}

// fill grows the ballast file until at most left bytes are free.
func fill(t *testing.T, ballast, dir string, left uint64) {
	t.Helper()
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		free := st.Bavail * uint64(st.Bsize)
		if free <= left {
			return
		}
		if _, err := f.Write(chunk[:min(uint64(len(chunk)), free-left)]); err != nil {
			return // the disk is full, as intended
		}
	}
}
