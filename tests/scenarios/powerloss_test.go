package scenarios

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// A power failure: what weir wrote and did not sync is lost. The data directory is on a file system in an image.
// After a kill the image is copied: the copy holds what was synced and what the kernel happened to write back, but
// nothing that was only in memory. weir goes on from the copy.
func TestPowerLoss_KeepsWhatWasAcknowledged(t *testing.T) {
	s := newSystem(t)
	d := newDisk(t, s.data)
	t.Cleanup(s.kill) // before the disk is unmounted
	s.env = []string{"WEIR_RAW_PERIOD=700ms", "WEIR_ROLLUP_PERIOD=500ms", "WEIR_DEAD_LETTER_PERIOD=1s"}
	s.start()
	s.ready()
	s.createKey()
	devices, wait := s.fleet("--devices", "200", "--rate", "800", "--duration", "1h", "--batch", "10", "--connections",
		"16",
		"--duplicates", "2", "--malformed", "1", "--late", "2", "--clock-ahead", "1", "--retry", "--retry-for", "30m",
		"--timeout", "10s")
	for range fromEnv(t, "WEIR_POWER_LOSSES", 3) {
		time.Sleep(4 * time.Second)
		s.kill()
		d.losePower()
		s.start()
		s.ready()
	}
	time.Sleep(3 * time.Second)
	if err := devices.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	t.Logf("weir fleet:\n%s", wait())
	s.verify(2 * time.Minute)
	s.reconcile()
	s.stop()
}

// disk is an ext4 file system in an image file, mounted on a folder. Its journal is committed on a sync, and
// otherwise only every 15 minutes.
type disk struct {
	t      *testing.T
	images string
	n      int
	mount  string
}

func newDisk(t *testing.T, mount string) *disk {
	t.Helper()
	d := &disk{t: t, images: t.TempDir(), mount: mount}
	for _, argv := range [][]string{
		{"mkdir", "-p", mount},
		{"truncate", "-s", "1G", d.image()},
		{"mkfs.ext4", "-q", "-F", "-E", "nodiscard", d.image()},
		{"mount", "-o", "loop,commit=900", d.image(), mount},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			switch {
			case errors.Is(err, exec.ErrNotFound):
				require.Missing(t, "%s is not installed: see tests/run.sh", argv[0])
			case argv[0] == "mount":
				require.Refused(t, "no file system can be mounted here, that needs root and loop devices: %v: %s", err, out)
			}
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("unmounting %s: %v: %s", mount, err, out)
		}
	})
	return d
}

func (d *disk) image() string { return filepath.Join(d.images, fmt.Sprintf("disk-%d", d.n)) }

// losePower replaces the file system by a copy of what is in the image at this moment.
func (d *disk) losePower() {
	d.t.Helper()
	// A file that is never synced must be lost; otherwise the test proves nothing.
	unsynced := filepath.Join(d.mount, "unsynced")
	if err := os.WriteFile(unsynced, make([]byte, 1<<20), 0o644); err != nil {
		d.t.Fatal(err)
	}
	old := d.image()
	d.n++
	for _, argv := range [][]string{
		{"cp", "--sparse=always", old, d.image()},
		{"umount", d.mount}, // writes the rest to the old image, which is not used again
		{"rm", old},
		{"mount", "-o", "loop,commit=900", d.image(), d.mount},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			d.t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	if info, err := os.Stat(unsynced); err == nil && info.Size() > 0 {
		d.t.Fatal("the disk kept what was never synced: this proves nothing")
	}
}
