package heap

import (
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
