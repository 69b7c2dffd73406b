package lake

import (
	"os"

	"golang.org/x/sys/unix"
)

// settle waits until the disk has taken what was written since from. The sync
// that follows then has little to do: a sync of megabytes at once would hold up
// those of the log on the same disk, which devices wait for.
func settle(file *os.File, from, to int64) error {
	return unix.SyncFileRange(int(file.Fd()), from, to-from,
		unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
}
