package sqldb

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// writers lets the writers of a process to one SQLite file go one after the other, in the order in which they came.
// SQLite has one writer at a time, and others retry after pauses of up to a tenth of a second: beside a frequent
// writer, they find the file locked again and again. Writers of other processes are waited for in SQLite's way.
type writers struct {
	one chan struct{}
	// how long a writer waits at most; then SQLite reports that the file is locked, as to one that waits for itself
	most time.Duration
}

func newWriters() writers { return writers{make(chan struct{}, 1), busyMost} }

// busyMost is how long a connection retries while another one has the write lock.
const busyMost = 10 * time.Second

func busyTimeout() string { return fmt.Sprintf("busy_timeout(%d)", busyMost.Milliseconds()) }

// enter waits for the writer's turn, which ends with the first call of leave.
func (w writers) enter(ctx context.Context) (leave func(), err error) {
	select {
	case w.one <- struct{}{}:
		return w.leave(), nil
	default:
	}
	late := time.NewTimer(w.most)
	defer late.Stop()
	select {
	case w.one <- struct{}{}:
		return w.leave(), nil
	case <-late.C:
		return func() {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w writers) leave() func() { return sync.OnceFunc(func() { <-w.one }) }
