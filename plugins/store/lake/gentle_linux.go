package lake

import (
	"os"

	"golang.org/x/sys/unix"
)

// settle waits until the disk has what was written in [from, to). The sync at the end is short
// then: a sync of megabytes would delay the syncs of the log on the same disk, for which devices
// wait.
func settle(file *os.File, from, to int64) error {
	return unix.SyncFileRange(int(file.Fd()), from, to-from,
		unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
}
