// Package heap controls how often the Go runtime collects garbage: seldom while the heap is small, to save CPU, and
// more often the larger it is, to bound memory.
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

// pace trades memory for CPU: the heap may grow by up to Most per cent of the live bytes (as GOGC) while it stays
// below Budget bytes, and by Least per cent in any case. In an idle process it may grow by Rest per cent at most.
type pace struct {
	Most, Least, Rest int
	Budget            uint64
}

// A process is idle if it has allocated less than restful bytes within lookEvery, which is 2 MB a second, where an
// event takes some 30 kB. Collections that follow each other within busy show before the next look that it is not idle
// any more.
const (
	lookEvery = 15 * time.Second
	restful   = 30 << 20
	busy      = 3 * time.Second
)

// percent returns GOGC for a heap with so many live bytes.
func (p pace) percent(alive uint64) int {
	if alive == 0 {
		return p.Most
	}
	room := max(float64(p.Budget)-float64(alive), 0)
	return int(min(max(room/float64(alive)*100, float64(p.Least)), float64(p.Most)))
}

const (
	// budget suffices for 50,000 devices and the events in progress. Up to it the heap may grow to save CPU, because
	// most of it is messages that live for milliseconds.
	budget = 480 << 20
	// soft is the size from which the runtime collects garbage at any cost of CPU. Only a backlog reaches it.
	soft = 1536 << 20
)

// Configure sets the garbage collection of the process, except what the environment sets by GOGC or GOMEMLIMIT. A
// larger GOMEMLIMIT makes the budget larger.
func Configure() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(soft)
	}
	if os.Getenv("GOGC") == "" {
		follow(paceOf(debug.SetMemoryLimit(-1)))
	}
}

// Times returns by which factor the budget exceeds the usual one: a power of two, at most most, and 1 without a memory
// limit in the environment. Caches that save CPU may be larger by this factor.
func Times(most int) int { return timesOf(budgetOf(debug.SetMemoryLimit(-1)), most) }

func timesOf(given uint64, most int) int {
	times := 1
	for 2*times <= most && given >= 2*uint64(times)*budget {
		times *= 2
	}
	return times
}

// paceOf returns the pace for a memory limit: one of the environment, soft, or none.
func paceOf(limit int64) pace {
	p := pace{Most: 400, Least: 50, Rest: 25, Budget: budgetOf(limit)}
	if p.Budget > budget {
		p.Most = 800
	}
	return p
}

// budgetOf returns the budget for a memory limit: budget, and three fifths of what the limit is beyond soft. The rest
// is for memory that is not on the heap, and for live objects beyond the budget.
func budgetOf(limit int64) uint64 {
	if limit <= soft || limit == math.MaxInt64 {
		return budget
	}
	return budget + uint64(limit-soft)/5*3
}

// follow adjusts GOGC after every collection, and when the process becomes idle, until stop is called, which leaves
// GOGC as it is then.
func follow(p pace) (stop func()) {
	f := &follower{pace: p, set: -1, last: time.Now(), asked: asked(), free: debug.FreeOSMemory}
	f.adjust()
	f.arm()
	stopped := make(chan struct{})
	go f.watch(stopped)
	return sync.OnceFunc(func() { f.done.Store(true); close(stopped) })
}

// watch calls look every lookEvery until it is stopped.
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
	free func() // collects garbage and returns memory to the system
	done atomic.Bool

	mu      sync.Mutex
	set     int
	last    time.Time // the time of the last collection
	asked   uint64    // bytes allocated so far, at the last look
	resting bool
}

// asked returns how many bytes of the heap the process has allocated since its start.
func asked() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// look determines whether the process is idle. When it becomes idle, it returns unused memory to the system, once.
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

// collected adjusts GOGC after a collection.
func (f *follower) collected(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.last) < busy {
		f.resting = false
	}
	f.last = now
	f.adjust()
}

// arm leaves an unreachable object whose cleanup runs when the runtime has collected it.
func (f *follower) arm() {
	runtime.AddCleanup(new(sentinel), func(f *follower) {
		if f.done.Load() {
			return
		}
		f.collected(time.Now())
		f.arm()
	}, f)
}

// sentinel has a pointer and a size, so that no other object shares its memory (the runtime groups tiny objects).
type sentinel struct {
	_ *sentinel
	_ [7]uintptr
}

// adjust sets GOGC if it differs enough, because setting it stops the world. The caller holds mu.
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
