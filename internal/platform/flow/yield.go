package flow

import (
	"runtime"
	"time"
)

// turn is how long a loop may keep a core to itself: the runtime would take it
// away after ten times that. Giving it up costs some 30 µs on an idle machine,
// because another core is woken for what then goes on as before.
const turn = time.Millisecond

// Yielder lets a long loop give way: a large batch must not hold up
// those who wait for a verdict. Its zero value is ready.
type Yielder struct{ last time.Time }

// Yield calls runtime.Gosched if the loop has had the core for a turn. It looks
// at the clock: some tens of nanoseconds.
func (y *Yielder) Yield() {
	switch now := time.Now(); {
	case y.last.IsZero():
		y.last = now
	case now.Sub(y.last) >= turn:
		runtime.Gosched()
		y.last = time.Now()
	}
}
