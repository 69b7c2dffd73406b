package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPace_GivesMemoryForCPUUpToTheBudget(t *testing.T) {
	p := pace{Most: 400, Least: 60, Budget: 500}
	for alive, want := range map[uint64]int{0: 400, 50: 400, 100: 400, 125: 300, 250: 100, 400: 60, 500: 60, 5000: 60} {
		if got := p.percent(alive); got != want {
			t.Errorf("%d bytes alive: %d %%, expected %d", alive, got, want)
		}
	}
}

func TestPace_WhoGivesMoreMemoryHasItUsed(t *testing.T) {
	for limit, want := range map[int64]uint64{0: budget, 1 << 30: budget, soft: budget,
		2 * soft: budget + soft/5*3, 11 * soft: budget + 6*soft, math.MaxInt64: budget} {
		if got := budgetOf(limit); got != want {
			t.Errorf("with a limit of %d bytes the budget is %d, expected %d", limit, got, want)
		}
	}
}

func TestPace_CollectsLessOftenWithMoreMemory(t *testing.T) {
	for limit, want := range map[int64]int{0: 400, soft: 400, 2 * soft: 800, math.MaxInt64: 400} {
		if got := paceOf(limit).Most; got != want {
			t.Errorf("with a limit of %d bytes GOGC is at most %d, expected %d", limit, got, want)
		}
	}
}

func TestTimes_IsAPowerOfTwoUpToABound(t *testing.T) {
	for given, want := range map[uint64]int{0: 1, budget: 1, 2*budget - 1: 1, 2 * budget: 2, 3 * budget: 2, 8 * budget: 8,
		100 * budget: 8} {
		if got := timesOf(given, 8); got != want {
			t.Errorf("with a budget of %d bytes it is %d, expected %d", given, got, want)
		}
	}
}

func TestFollow_ChangesThePaceAsTheHeapGrows(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	stop := follow(pace{Most: 400, Least: 60, Budget: 64 << 20})
	defer stop()
	percent := func() int {
		now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(now)
		return int(now[0].Value.Uint64())
	}
	until := func(what string, ok func(int) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			p := percent()
			if ok(p) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s, the pace is %d %%", what, p)
			}
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	}
	until("with little alive", func(p int) bool { return p > 200 })
	held := make([]byte, 100<<20)
	until("with more than the budget", func(p int) bool { return p == 60 })
	runtime.KeepAlive(held)
	held = nil
	until("with little alive again", func(p int) bool { return p > 200 })
}

// A process that has nothing to do keeps little, and gives the rest back once; when
// it works again it has its room at the second collection.
func TestFollow_GivesMemoryBackAtRest(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	freed := 0
	now, allocated := time.Unix(1_800_000_000, 0), uint64(0)
	f := &follower{pace: pace{Most: 400, Least: 50, Rest: 25, Budget: 1 << 40}, set: -1, last: now,
		free: func() { freed++ }}
	for i, c := range []struct {
		after   time.Duration // the last collection; 0: it is looked
		bytes   uint64        // asked for since it was looked
		percent int
		freed   int
	}{
		{time.Second, 0, 400, 0},
		{0, 1 << 30, 400, 0},
		{0, restful - 1, 25, 1},
		{time.Minute, 0, 25, 1}, // of giving back
		{0, restful - 1, 25, 1}, // at rest still
		{busy, 0, 25, 1},
		{busy - 1, 0, 400, 1}, // at work
		{0, 1 << 30, 400, 1},
		{0, 0, 25, 2},
	} {
		if now = now.Add(c.after); c.after > 0 {
			f.collected(now)
		} else {
			allocated += c.bytes
			f.look(allocated)
		}
		if f.set != c.percent || freed != c.freed {
			t.Errorf("%d: %d %%, given back %d times; expected %d %%, %d", i, f.set, freed, c.percent, c.freed)
		}
	}
}
