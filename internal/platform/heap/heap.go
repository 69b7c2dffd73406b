// Package heap says how often the Go runtime collects garbage: seldom while a
// process is small, and as often as it must where that would make it large.
package heap

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// pace is memory given for CPU: the heap may grow to Most times (in per cent, as
// GOGC) what is alive, up to Budget bytes; beyond that to Least times it. A process
// that is at rest needs no such room: it has Rest.
type pace struct {
	Most, Least, Rest int
	Budget            uint64
}

// A process is at rest that has asked for less than restful bytes within lookEvery:
// 2 MB a second, where a device's event takes some 30 kB. Collections that are
// closer than busy say otherwise before it is looked again.
const (
	lookEvery = 15 * time.Second
	restful   = 30 << 20
	busy      = 3 * time.Second
)

// percent is GOGC for a heap of which so many bytes are alive.
func (p pace) percent(alive uint64) int {
	if alive == 0 {
		return p.Most
	}
	room := max(float64(p.Budget)-float64(alive), 0)
	return int(min(max(room/float64(alive)*100, float64(p.Least)), float64(p.Most)))
}

const (
	// budget is for 50,000 devices and what is under way of their events: up to it
	// the heap is given memory for CPU, since most of it is messages that live for
	// milliseconds.
	budget = 480 << 20
	// soft is where collecting garbage becomes worth any CPU. It takes a backlog to
	// get there.
	soft = 1536 << 20
)

// Configure sets what weir wants of the runtime, but nothing that the
// environment sets by GOGC or GOMEMLIMIT. Who gives a process more memory by the
// latter has it used: the budget grows with it.
func Configure() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(soft)
	}
	if os.Getenv("GOGC") == "" {
		follow(paceOf(debug.SetMemoryLimit(-1)))
	}
}

// Times is how many times the usual budget the heap has: a power of two, at most most, 1
// without a memory limit of the environment. What spares CPU by memory, such as a cache, may
// be so many times larger.
func Times(most int) int { return timesOf(budgetOf(debug.SetMemoryLimit(-1)), most) }

func timesOf(given uint64, most int) int {
	times := 1
	for 2*times <= most && given >= 2*uint64(times)*budget {
		times *= 2
	}
	return times
}

// paceOf is the pace below a memory limit of the environment, of soft, or of none.
func paceOf(limit int64) pace {
	p := pace{Most: 400, Least: 50, Rest: 25, Budget: budgetOf(limit)}
	if p.Budget > budget {
		p.Most = 800
	}
	return p
}

// budgetOf is the budget below a memory limit: three fifths of what is given beyond soft
// are for the heap, too. The rest is for what is not on it, and for what a collection
// finds alive beyond the budget.
func budgetOf(limit int64) uint64 {
	if limit <= soft || limit == math.MaxInt64 {
		return budget
	}
	return budget + uint64(limit-soft)/5*3
}

// follow sets the pace after every collection, and when the process comes to rest,
// until stop is called, which leaves it as it is then.
func follow(p pace) (stop func()) {
	f := &follower{pace: p, set: -1, last: time.Now(), asked: asked(), free: debug.FreeOSMemory}
	f.adjust()
	f.arm()
	stopped := make(chan struct{})
	go f.watch(stopped)
	return sync.OnceFunc(func() { f.done.Store(true); close(stopped) })
}

// watch looks now and then until it is stopped.
func (f *follower) watch(stopped <-chan struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.look(asked())
		case <-stopped:
			return
		}
	}
}

type follower struct {
	pace pace
	free func() // gives memory back to the system, by a collection
	done atomic.Bool

	mu      sync.Mutex
	set     int
	last    time.Time // of the collections
	asked   uint64    // bytes, ever, when it was looked last
	resting bool
}

// asked is how many bytes of the heap were ever asked for.
func asked() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// look finds out whether the process is at rest. What it does not need then it
// gives back, once.
func (f *follower) look(asked uint64) {
	f.mu.Lock()
	rested := f.resting
	f.resting, f.asked = asked-f.asked < restful, asked
	changed := f.resting != rested
	if changed {
		f.adjust()
	}
	f.mu.Unlock()
	if changed && !rested {
		f.free()
	}
}

// collected adjusts the pace after a collection.
func (f *follower) collected(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.last) < busy {
		f.resting = false
	}
	f.last = now
	f.adjust()
}

// arm leaves a piece of garbage: the runtime tells when it has collected it.
func (f *follower) arm() {
	runtime.AddCleanup(new(sentinel), func(f *follower) {
		if f.done.Load() {
			return
		}
		f.collected(time.Now())
		f.arm()
	}, f)
}

// sentinel is of a size, and holds a pointer, so that no other object shares its
// memory.
type sentinel struct {
	_ *sentinel
	_ [7]uintptr
}

// adjust changes the pace if it makes a difference: it stops the world. mu is held.
func (f *follower) adjust() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	percent := f.pace.percent(sample[0].Value.Uint64())
	if f.resting {
		percent = min(percent, f.pace.Rest)
	}
	if f.set >= 0 && max(percent-f.set, f.set-percent)*20 < f.set {
		return
	}
	f.set = percent
	debug.SetGCPercent(percent)
}
