package recount

import (
	"testing"
	"time"

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
