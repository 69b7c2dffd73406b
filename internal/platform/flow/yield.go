package flow

import (
	"runtime"
	"time"
)

// turn is how long a loop may run before it yields; the runtime would preempt it after ten times that. Yielding costs
// some 30 µs on an idle machine, because another core is woken to continue the same work.
const turn = time.Millisecond

// Yielder makes a long loop yield the processor, so that a large batch does not delay requests that wait for a
// verdict. The zero value is ready; a Yielder belongs to one goroutine.
type Yielder struct{ last time.Time }

// Yield calls runtime.Gosched at most once per turn (a millisecond) of the loop. It reads the clock, which takes some
// tens of nanoseconds.
func (y *Yielder) Yield() {
	switch now := time.Now(); {
	case y.last.IsZero():
		y.last = now
	case now.Sub(y.last) >= turn:
		runtime.Gosched()
		y.last = time.Now()
	}
}
