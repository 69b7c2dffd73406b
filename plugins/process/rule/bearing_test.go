package rule

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	"weir/internal/event"
)

// sampled selects about a quarter of all results, because it takes long to trace each.
func sampled(id string) bool { return id[0]%4 == 0 }

// BearsOn (from an event to its results) and Trace (from a result to its events) agree: BearsOn
// returns the results whose lineage has the event, and no others. Of a pattern, whose matches look
// at more events than they take, it may return others, but misses none.
func TestBearing_AgreesWithTheLineageOfResults(t *testing.T) {
	b, l := recomputable(t, 3)
	db := b.versions().db
	made := map[string]map[string]bool{} // by record: the results whose lineage has it
	kinds := map[string]string{}         // by result: its rule
	for _, raw := range b.results() {
		var told telling
		if err := json.Unmarshal([]byte(raw), &told); err != nil {
			t.Fatal(err)
		}
		if kinds[told.ID] != "" {
			continue
		}
		if kinds[told.ID] = told.Rule; !sampled(told.ID) {
			continue
		}
		of, err := Trace(t.Context(), db, Traced{Fleet: told.Fleet, Rule: told.Rule, ID: told.ID}, l)
		if errors.Is(err, ErrNoLineage) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for _, e := range of.Events {
			if made[e.Record] == nil {
				made[e.Record] = map[string]bool{}
			}
			made[e.Record][told.ID] = true
		}
	}
	outcomes, unknown := map[string]int{}, 0
	for _, e := range l.log {
		if e.First.Partition != 0 {
			continue
		}
		got, err := BearsOn(t.Context(), db, Happened{Fleet: e.fleet, Device: e.device, At: time.UnixMicro(e.at),
			First: e.First}, l)
		if err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(made[e.First.String()])
		for _, rule := range got {
			if outcomes[rule.Outcome]++; rule.Results == nil {
				unknown++
			}
			for _, r := range rule.Results {
				if kinds[r.ID] != rule.Rule {
					t.Errorf("%s: a result of rule %s is returned as one of rule %s", e.First, kinds[r.ID], rule.Rule)
				}
				if sampled(r.ID) && !want[r.ID] && rule.Rule != "pattern" {
					t.Errorf("%s bears on result %s of %s, whose lineage does not have it", e.First, r.ID, rule.Rule)
				}
				delete(want, r.ID)
			}
		}
		if len(want) > 0 {
			for id := range want {
				t.Errorf("%s is in the lineage of result %s of %s, and does not bear on it", e.First, id, kinds[id])
			}
		}
	}
	if outcomes["counted"] < 100 || outcomes["filtered"] == 0 {
		t.Errorf("the history has too little: %v, %d unknown", outcomes, unknown)
	}
}

// BearsOn returns nil for a record that no rule has read, and if the version of the rules is not
// stored any more.
func TestBearing_IsNilForRecordsThatNoRuleRead(t *testing.T) {
	b, l := recomputable(t, 3)
	e := l.log[0]
	ask := func(at event.Coordinates) []Bearing {
		t.Helper()
		got, err := BearsOn(t.Context(), b.versions().db, Happened{Fleet: e.fleet, Device: e.device,
			At: time.UnixMicro(e.at), First: at}, l)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if len(ask(e.First)) == 0 {
		t.Error("an event that was read bears on no rule")
	}
	for _, at := range []event.Coordinates{{Topic: "other", Offset: 0}, {Topic: e.First.Topic, Partition: 9},
		{Topic: e.First.Topic, Offset: 1 << 40}} {
		if got := ask(at); got != nil {
			t.Errorf("%s: %+v", at, got)
		}
	}
	if _, err := b.versions().db.Exec(`UPDATE rule_version SET version = 'other'`); err != nil {
		t.Fatal(err)
	}
	if got := ask(e.First); got != nil {
		t.Errorf("by a version that is not stored any more: %+v", got)
	}
}
