package flow

import (
	"sync"
	"time"
)

// Circuit is a circuit breaker: after some failures in a row it admits nobody for a pause, then a single caller as a
// probe. The pause doubles with each failed probe. The zero value opens at the first failure. It may be used
// concurrently.
type Circuit struct {
	After int // failures in a row that open it; 0: 1

	mu      sync.Mutex
	failed  int           // in a row, while it is closed
	pause   time.Duration // 0: closed, everybody is admitted
	until   time.Time
	probing bool
}

// The first and the longest pause.
const (
	circuitFirst = 100 * time.Millisecond
	circuitMost  = 5 * time.Second
)

// Enter tells whether the caller may call the server now. An admitted caller must then call Succeed, Fail or Leave.
func (c *Circuit) Enter(now time.Time) bool {
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

// Open tells whether the server is thought to be down.
func (c *Circuit) Open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pause > 0
}

// Succeed closes the circuit and tells whether it was open.
func (c *Circuit) Succeed() (was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was = c.pause > 0
	c.failed, c.pause, c.probing = 0, 0, false
	return was
}

// Fail records a failure and tells whether it opened the circuit. Failures of callers admitted before it opened do
// not lengthen the pause.
func (c *Circuit) Fail(now time.Time) (opened bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pause == 0:
		if c.failed++; c.failed < c.After {
			return false
		}
		c.pause, opened = circuitFirst, true
	case c.probing:
		c.pause = min(2*c.pause, circuitMost)
	default:
		return false
	}
	c.failed, c.probing = 0, false
	c.until = now.Add(c.pause)
	return opened
}

// Leave ends a call without a result, because the caller was cancelled.
func (c *Circuit) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = false
}
