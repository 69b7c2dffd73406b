package rollup

import (
	"fmt"
	"testing"
	"time"

	"weir/internal/event"
)

// steady has devices report every ten seconds, for four minutes, some of them late, and returns
// how many rows were in memory at most.
func steady(t *testing.T, s *Store, devices int, lateBy time.Duration, lateOnes int) (held int) {
	t.Helper()
	const step = 2 * time.Second
	start := time.Now().Truncate(time.Minute).Add(time.Hour) // ahead of the clock that nothing else goes by here
	id := 0
	for now := start; now.Before(start.Add(4 * time.Minute)); now = now.Add(step) {
		c := NewCollector(devices)
		for d := range devices {
			if d%5 != int(now.Sub(start)/step)%5 {
				continue
			}
			at := now.Add(-time.Duration(d%4) * time.Second) // on its way, and gathered
			if id++; id%lateOnes == 0 {
				at = at.Add(-lateBy)
			}
			var e event.Event
			if err := event.Parse([]byte(testEvent(id, fmt.Sprint("d-", d), at, `{"x":1}`)), &e); err != nil {
				t.Fatal(err)
			}
			c.Add("acme", &e, e.Time, "", "", false)
		}
		s.mu.Lock()
		s.begun = s.begun.Add(-step)
		s.mu.Unlock()
		if res := add(t, s, now, c.Windows()); res.Events[outcomeCounted] == 0 {
			t.Fatalf("%+v", res)
		}
		if err := s.writeDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		held = max(held, s.Use().Held)
	}
	return held
}

// Where devices report on time a row is in memory until it is written, and not much longer: in the
// first seconds of a minute there are those of the one before, too. None is read; of an event that
// is later than that its row is, once.
func TestRollup_ARowLeavesMemoryOnceItIsWritten(t *testing.T) {
	const devices, lateOnes = 400, 97
	for by, reads := range map[time.Duration]bool{0: false, 5 * time.Second: false, time.Minute: true} {
		s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
		held, use := steady(t, s, devices, by, lateOnes), s.Use()
		late := int64(4*6*devices/lateOnes + 1)
		if held > devices*17/10 || use.Read > 0 != reads || use.Read > late || use.Evicted > 0 {
			t.Errorf("one in %d late by %s: %d rows of %d devices were in memory; %+v", lateOnes, by, held, devices, use)
		}
	}
}
