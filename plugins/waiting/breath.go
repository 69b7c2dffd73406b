package waiting

import (
	"runtime"
	"time"
)

// held is how long a loop may keep a core to itself: the runtime would take it
// away after ten times that. Giving it up costs some 30 µs on an idle machine,
// because another core is woken for what then goes on as before.
const held = time.Millisecond

// Breath is that of a loop which takes long: a large batch must not hold up
// those who wait for a verdict. Its zero value is ready.
type Breath struct{ last time.Time }

// Take lets others have the core, if the loop has had it long enough. It looks
// at the clock: some tens of nanoseconds.
func (b *Breath) Take() {
	switch now := time.Now(); {
	case b.last.IsZero():
		b.last = now
	case now.Sub(b.last) >= held:
		runtime.Gosched()
		b.last = time.Now()
	}
}
