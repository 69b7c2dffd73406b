package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock locks the data directory for one 'weir up', creating it if needed. The kernel releases the lock when the
// process ends in any way.
func (d DataDir) lock() (release func(), err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("creating the data directory: %w", err)
	}
	f, err := os.OpenFile(d.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			who := ""
			if r, err := d.readRunning(); err == nil {
				who = fmt.Sprintf(" (process %d, ingest on %s)", r.PID, r.Ingest)
			}
			return nil, fmt.Errorf("another weir runs on data directory %s%s: stop it, or choose another with --data", d, who)
		}
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
