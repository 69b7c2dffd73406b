// Package heap says how often the Go runtime collects garbage: seldom while a
// process is small, and as often as it must where that would make it large.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// pace is memory given for CPU: the heap may grow to Most times (in per cent, as
// GOGC) what is alive, up to Budget bytes; beyond that to Least times it.
type pace struct {
	Most, Least int
	Budget      uint64
}

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
// environment sets by GOGC or GOMEMLIMIT.
func Configure() {
	if os.Getenv("GOGC") == "" {
		follow(pace{Most: 400, Least: 50, Budget: budget})
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(soft)
	}
}

// follow sets the pace after every collection until stop is called, which leaves
// it as it is then.
func follow(p pace) (stop func()) {
	f := &follower{pace: p, set: -1}
	f.adjust()
	f.arm()
	return func() { f.done.Store(true) }
}

type follower struct {
	pace pace
	set  int
	done atomic.Bool
}

// arm leaves a piece of garbage: the runtime tells when it has collected it.
func (f *follower) arm() {
	runtime.AddCleanup(new(sentinel), func(f *follower) {
		if f.done.Load() {
			return
		}
		f.adjust()
		f.arm()
	}, f)
}

// sentinel is of a size, and holds a pointer, so that no other object shares its
// memory.
type sentinel struct {
	_ *sentinel
	_ [7]uintptr
}

// adjust changes the pace if it makes a difference: it stops the world.
func (f *follower) adjust() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	percent := f.pace.percent(sample[0].Value.Uint64())
	if f.set >= 0 && max(percent-f.set, f.set-percent)*20 < f.set {
		return
	}
	f.set = percent
	debug.SetGCPercent(percent)
}
