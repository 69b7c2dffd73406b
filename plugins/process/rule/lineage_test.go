package rule

import (
	"encoding/json"
	"errors"
	"testing"
)

// Trace returns the events of each result: of a window, session, count window or pair exactly those
// that it counts, of a match all that it looked at. Asked for another fleet, rule or device, it finds
// no result.
func TestLineage_LeadsToTheEventsThatAResultCounts(t *testing.T) {
	b, l := recomputable(t, 3)
	db := b.versions().db
	seen := map[string]int{}
	for _, raw := range b.results() {
		var told telling
		if err := json.Unmarshal([]byte(raw), &told); err != nil {
			t.Fatal(err)
		}
		if seen[told.Rule]++; seen[told.Rule] > 8 {
			continue
		}
		got, err := Trace(t.Context(), db, Traced{Fleet: told.Fleet, Rule: told.Rule, ID: told.ID}, l)
		if err != nil {
			t.Fatal(err)
		}
		var now telling // the newest revision
		if err := json.Unmarshal(got.Result, &now); err != nil {
			t.Fatal(err)
		}
		if n := len(got.Events); now.Status != statusRetracted && (!got.Whole || n == 0 ||
			got.Events[0].Record != now.First || got.Events[n-1].Record != now.Last) {
			t.Errorf("the lineage of %s has %d events, whole: %v: %+v", got.Result, n, got.Whole, got.Events)
		}
		for _, other := range []Traced{{Fleet: "other", Rule: told.Rule, ID: told.ID}, {Fleet: told.Fleet, Rule: "other",
			ID: told.ID}, {Fleet: told.Fleet, Rule: told.Rule, ID: told.ID, Devices: []string{"other"}}} {
			if _, err := Trace(t.Context(), db, other, l); !errors.Is(err, ErrNoResult) {
				t.Fatalf("%+v: %v", other, err)
			}
		}
	}
	if _, err := db.Exec(`UPDATE rule_version SET version = 'other'`); err != nil {
		t.Fatal(err)
	}
	unknown := 0
	for _, raw := range b.results() {
		var told telling
		if err := json.Unmarshal([]byte(raw), &told); err != nil {
			t.Fatal(err)
		}
		got, err := Trace(t.Context(), db, Traced{Fleet: told.Fleet, Rule: told.Rule, ID: told.ID}, l)
		if err == nil { // a retracted result has no events, and needs no version
			if err = json.Unmarshal(got.Result, &told); err == nil && told.Status != statusRetracted {
				t.Fatalf("a %s result of a version that is not stored has a lineage", told.Status)
			}
		} else if errors.Is(err, ErrNoLineage) {
			unknown, err = unknown+1, nil
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if unknown == 0 {
		t.Error("Trace never returned ErrNoLineage")
	}
}
