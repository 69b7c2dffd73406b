package kafka

import (
	"testing"
	"time"
)

// One record a second for six hours: each is as old as it is, within a sixteenth
// part and a second, and little is remembered.
func TestHistory_AnAgeIsExactToAPartOfItself(t *testing.T) {
	const horizon = 4 * time.Hour
	h, p := NewHistory(horizon), Partition{Topic: "t"}
	start := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	now, end := start, int64(0)
	for range 6 * 3600 {
		now, end = now.Add(time.Second), end+1
		h.Note(now, map[Partition]int64{p: end})
	}
	for _, age := range []int64{0, 1, 2, 5, 30, 300, 3600, 3 * 3600} {
		offset := end - 1 - age // written so many seconds ago
		got, want := h.Age(now, p, offset), time.Duration(age)*time.Second
		if got > want || got < want-want/historyFine-2*time.Second {
			t.Errorf("a record of %s ago is %s old", want, got)
		}
	}
	if got := h.Age(now, p, end); got != 0 {
		t.Errorf("what is not there yet is %s old", got)
	}
	if got := h.Age(now, p, 0); got < horizon-horizon/historyFine {
		t.Errorf("what is older than the horizon is %s old", got)
	}
	if len(h.ends) > 500 {
		t.Errorf("%d times are remembered", len(h.ends))
	}
}
