package sqldb

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// writers gives those of a process who write to one file their turn, in the order in
// which they came. SQLite has one writer at a time, and lets whoever finds one there look
// again after pauses that grow to a tenth of a second: beside somebody who writes often,
// it finds the file taken again and again. Writers of other processes are waited for as
// before.
type writers struct {
	one  chan struct{}
	most time.Duration // how long one waits: who waits for itself then hears that the file is locked
}

func newWriters() writers { return writers{make(chan struct{}, 1), busyMost} }

// busyMost is how long a connection looks for the end of another's transaction.
const busyMost = 10 * time.Second

func busyTimeout() string { return fmt.Sprintf("busy_timeout(%d)", busyMost.Milliseconds()) }

// enter waits for the turn of a writer, which ends when leave is first called.
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
