package retention

import (
	"testing"
	"time"

	"weir/tests/integration/testbed"
)

func TestRetention_AClockThatJumpsAheadIsNotBelievedForADay(t *testing.T) {
	db := testbed.SQLite(t)
	if err := openRuns(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	start, day := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), 24*time.Hour
	for i, c := range []struct {
		after    time.Duration
		believed bool
	}{
		{0, true}, {10 * time.Minute, true}, {6 * day, true}, // a pause of days
		{3650 * day, false}, {3650*day + time.Hour, false}, // a dead battery
		{6*day + time.Hour, true}, {7 * day, true}, // it was set right
		{20 * day, false}, {20*day + 23*time.Hour, false}, {21*day + time.Second, true}, {22 * day, true}, // a long pause
	} {
		if err := believe(t.Context(), db, start.Add(c.after)); (err == nil) != c.believed {
			t.Errorf("run %d, after %s: %v", i, c.after, err)
		}
	}
}
