package dedupe

import (
	"sync"
	"time"
)

// circuit keeps a store that is down from being hammered: after a failure
// nobody asks it until a pause has passed, and then one caller alone probes
// it. The pause doubles with each failed probe.
type circuit struct {
	mu      sync.Mutex
	pause   time.Duration // 0: closed, everybody may ask
	until   time.Time
	probing bool
}

const (
	pauseFirst = 100 * time.Millisecond
	pauseMost  = 5 * time.Second
)

// enter tells whether the caller may ask the store now. Whoever is let in
// must call succeed, fail or leave.
func (c *circuit) enter(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pause == 0 {
		return true
	}
	if c.probing || now.Before(c.until) {
		return false
	}
	c.probing = true
	return true
}

// succeed closes the circuit, and tells whether it was open.
func (c *circuit) succeed() (was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was = c.pause > 0
	c.pause, c.probing = 0, false
	return was
}

// fail opens the circuit, and tells whether it was closed. Callers that were
// let in before it opened do not lengthen the pause.
func (c *circuit) fail(now time.Time) (was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pause == 0:
		c.pause, was = pauseFirst, true
	case c.probing:
		c.pause = min(2*c.pause, pauseMost)
	default:
		return false
	}
	c.probing = false
	c.until = now.Add(c.pause)
	return was
}

// leave gives up without having learned anything: the caller was cancelled.
func (c *circuit) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = false
}
