package overview

import (
	"math"
	"testing"
	"time"
)

// A disk is noted by how its space goes; what is not known, or does not become
// less, has no end.
func TestFilling_DaysLeftGoByHowTheSpaceWent(t *testing.T) {
	const gib = 1 << 30
	start := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	f := &filling{}
	look := func(after time.Duration, free uint64) *float64 {
		d := &Disk{Free: free, Total: 1000 * gib}
		f.note("raw", start.Add(after), d)
		return d.DaysLeft
	}
	for _, c := range []struct {
		after time.Duration
		free  uint64
		days  float64 // -1 is none
	}{
		{0, 100 * gib, -1}, {5 * time.Minute, 99 * gib, -1}, {15 * time.Minute, 100 * gib, -1},
		{16 * time.Minute, 101 * gib, -1}, {12 * time.Hour, 90 * gib, 4.5}, {24 * time.Hour, 80 * gib, 4},
		{36 * time.Hour, 80 * gib, 8}, // since twelve hours: a day is looked at
		{61 * time.Hour, 80 * gib, -1},
	} {
		got := look(c.after, c.free)
		if c.days < 0 != (got == nil) || got != nil && math.Abs(*got-c.days) > 0.01 {
			t.Errorf("after %s: %v, want %v", c.after, got, c.days)
		}
	}
	for i := range 5000 { // a look a second
		look(100*time.Hour+time.Duration(i)*time.Second, 80*gib)
	}
	if n := len(f.seen["raw"]); n > 100 {
		t.Errorf("%d spots are kept of 84 minutes", n)
	}
	d := &Disk{Free: 7 * gib, Total: 1000 * gib}
	f.note("rollups", start, d)
	if d.DaysLeft != nil {
		t.Error("one store has the end of another")
	}
}
