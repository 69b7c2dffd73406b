package recount

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/event"
	"weir/plugins/process/rule"
	"weir/plugins/store/raw"
)

// A day is there when the fleet has an event of it that came in time: what other fleets
// have, or what came late, retention may have left of it.
func TestForRules_DaysAreOfTheFleetAsTheyCame(t *testing.T) {
	events := &ForRules{Reader: raw.NewReader(stored(t).Store)}
	first := time.Unix(hour, 0)
	for _, c := range []struct {
		fleet    string
		from, to time.Time
		there    bool
	}{
		{"acme", first, first.Add(3 * time.Hour), true},
		{"acme", first.Add(10 * time.Hour), first.Add(11 * time.Hour), true}, // of the same day
		{"other", first, first.Add(time.Hour), false},
		{"acme", first, first.AddDate(0, 0, 1), false},
		{"acme", first.AddDate(0, 0, 2), first.AddDate(0, 0, 2), false}, // its only one came a day late
	} {
		there, err := events.Days(t.Context(), c.fleet, c.from.UnixMicro(), c.to.UnixMicro())
		if err != nil || there != c.there {
			t.Errorf("%s from %s to %s: %t, %v", c.fleet, c.from, c.to, there, err)
		}
	}
}

// What is read of events that are bounded is bounded, whatever partition it is of. What
// would be more is not begun.
func TestForRules_ReadsNoMoreRowsThanAreLeft(t *testing.T) {
	events := &ForRules{Reader: raw.NewReader(stored(t).Store), Known: true}
	left := new(atomic.Int64)
	for _, c := range []struct {
		partition int32
		left, at  int64 // and how many are left at most
		events    int
		err       error
	}{{0, 100, 100, 0, rule.ErrTooMany}, {3, 100, 100, 0, rule.ErrTooMany}, {0, 1000, 820, 179, nil},
		{3, 1000, 820, 0, nil}, {3, 300, -1, 0, rule.ErrTooMany}} { // each of the hours reads the object
		left.Store(c.left)
		n := 0
		err := events.Of(t.Context(), rule.Wanted{Fleet: "acme", Topic: "raw-events", Partition: c.partition,
			From: hour * 1e6, To: (hour + 3*3600) * 1e6, Left: left},
			func(event.Coordinates) *rule.Reading { return nil }, func(rule.Stored) error { n++; return nil })
		if !errors.Is(err, c.err) || n != c.events || left.Load() > c.at || c.at == c.left && left.Load() != c.at {
			t.Errorf("partition %d of %d: %d events, %d left: %v", c.partition, c.left, n, left.Load(), err)
		}
	}
}
