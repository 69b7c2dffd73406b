package dedupe

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// roomWanted is how many free bytes a disk that was full must have before writes go on.
const roomWanted = 48 << 20

// waitForRoom makes writes to a full disk wait until there is room instead of failing: Pebble treats a failed write of
// its log as fatal. Claims time out meanwhile, so events pass without a claim, and the store recovers by itself.
func waitForRoom(fs vfs.FS, path string, log logger) vfs.FS {
	return vfs.OnDiskFull(fs, func() {
		log.Errorf("the disk of the claims store %q is full: it waits for %d MiB of room", path, roomWanted>>20)
		for {
			usage, err := fs.GetDiskUsage(path)
			if err == nil && usage.AvailBytes >= roomWanted {
				log.Infof("the disk of the claims store %q has room again", path)
				return
			}
			time.Sleep(250 * time.Millisecond)
		}
	})
}

// pebbleLog logs Pebble's errors, and discards its other messages.
type pebbleLog struct {
	path string
	to   logger
}

func (l pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.to.Errorf("claims store %q: %s", l.path, fmt.Sprintf(format, args...))
}

// Fatalf must not return: the disk has failed under data that Pebble relies on. Ending the process loses nothing:
// records that were not acknowledged are read again.
func (l pebbleLog) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("claims store %q: %s", l.path, fmt.Sprintf(format, args...)))
}
