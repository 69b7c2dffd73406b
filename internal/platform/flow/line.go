package flow

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// long is how many events a line has when requests wait for a core and not only
// for the disk: 5,000 events a second make some 50, and 15,000 some 300.
const long = 500

// look is how often who makes way looks whether the line is still long.
const look = 2 * time.Millisecond

type lineKey struct{}

// Line is the events of a process that wait for a verdict.
type Line struct{ events atomic.Int64 }

// Of returns the line of the engine's process.
func Of(res *service.Resources) *Line {
	l, _ := res.GetOrSetGeneric(lineKey{}, &Line{})
	return l.(*Line)
}

// Add makes the line longer, or shorter, by n events.
func (l *Line) Add(n int) { l.events.Add(int64(n)) }

// long tells whether requests wait for a core.
func (l *Line) long() bool { return l.events.Load() >= long }

// LetPass waits while the line is long, and no longer than most. It returns how
// long that was.
func (l *Line) LetPass(ctx context.Context, most time.Duration) time.Duration {
	if !l.long() || most <= 0 {
		return 0
	}
	start := time.Now()
	end := time.NewTimer(most)
	defer end.Stop()
	again := time.NewTicker(look)
	defer again.Stop()
	for l.long() {
		select {
		case <-ctx.Done():
			return time.Since(start)
		case <-end.C:
			return time.Since(start)
		case <-again.C:
		}
	}
	return time.Since(start)
}
