package flow

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// long is the number of waiting events at which requests wait for a core and not only for the disk: 5,000 events a
// second keep some 50 waiting, and 15,000 some 300.
const long = 500

// look is how often LetPass checks the line.
const look = 2 * time.Millisecond

type lineKey struct{}

// Line counts the events of a process that wait for a verdict.
type Line struct{ events atomic.Int64 }

// Of returns the Line of the process.
func Of(res *service.Resources) *Line {
	l, _ := res.GetOrSetGeneric(lineKey{}, &Line{})
	return l.(*Line)
}

// Add changes the number of waiting events by n.
func (l *Line) Add(n int) { l.events.Add(int64(n)) }

// long tells whether requests wait for a core.
func (l *Line) long() bool { return l.events.Load() >= long }

// LetPass blocks while the line is long, for at most most, and returns how long it blocked.
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
