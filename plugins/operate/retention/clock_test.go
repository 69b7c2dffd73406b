package retention

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle"
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

// A run that is told to keep two places in order deletes from no other, though it asks
// the control store for the holds.
func TestRetention_ARunKeepsOnlyThePlacesItIsToldTo(t *testing.T) {
	var asked []string
	var list lifecycle.List
	for _, place := range []lifecycle.Place{lifecycle.Raw, lifecycle.DeadLetters, lifecycle.Rollups, lifecycle.Control} {
		list = append(list, lifecycle.Kind{Name: string(place), Place: place,
			Keep: []lifecycle.Keep{{Place: place, Field: "keep", Default: "24h"}},
			Open: func(context.Context, *lifecycle.Places) (lifecycle.Store, error) {
				asked = append(asked, string(place))
				return sized{}, nil
			}})
	}
	list = append(list, lifecycle.Kind{Name: "outcomes", Place: lifecycle.Control, // kept as long as dead letters are
		Keep: []lifecycle.Keep{{Place: lifecycle.DeadLetters, Field: "keep"}},
		Open: func(context.Context, *lifecycle.Places) (lifecycle.Store, error) {
			asked = append(asked, "outcomes")
			return sized{}, nil
		}})
	config := func(only string) string {
		dir := t.TempDir()
		return fmt.Sprintf("only: %s\nnow: 2026-11-21T12:00:00Z\nraw: { url: file://%s/raw }\n"+
			"dead_letters: { url: file://%s/dead }\nrollups: { url: sqlite://%s/rollups.db }\n"+
			"control: { url: sqlite://%s/control.db }\n", only, dir, dir, dir, dir)
	}
	for only, want := range map[string]string{"[]": "[raw dead_letters rollups control outcomes]",
		"[raw, dead_letters]": "[raw dead_letters outcomes]", "[control]": "[control]"} {
		parsed, err := spec(list).ParseYAML(config(only), nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := newProcessor(parsed, service.MockResources(), list)
		if err != nil {
			t.Fatal(err)
		}
		asked = nil
		if _, err := r.run(t.Context(), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), false); err != nil ||
			fmt.Sprint(asked) != want {
			t.Errorf("only %s: %v, %v", only, asked, err)
		}
	}
	parsed, err := spec(list).ParseYAML(config("[events]"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newProcessor(parsed, service.MockResources(), list); err == nil ||
		!strings.Contains(err.Error(), "events") {
		t.Errorf("a place that is none: %v", err)
	}
}
