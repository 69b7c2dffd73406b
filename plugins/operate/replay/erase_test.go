package replay

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/plugins/operate/recount"
)

// Jobs forget an erased device: their lists, what they found, where they are.
// One that has no other device ends, and can't be resumed for all of them.
func TestReplay_JobsForgetAnErasedDevice(t *testing.T) {
	w := newWorld(t)
	ctx, s := t.Context(), w.jobs
	from, to := time.Now().Add(-time.Hour), time.Now()
	make := func(state State, fleet string, devices ...string) string {
		t.Helper()
		j, err := s.Create(ctx, Spec{Mode: Reprocess, From: &from, To: &to, Fleet: fleet, Devices: devices,
			Reason: "ask about pump-1"}, "k", "")
		if err != nil {
			t.Fatal(err)
		}
		result, err := json.Marshal(Result{Left: []recount.Window{{Fleet: "acme", Device: "pump-1"},
			{Fleet: "acme", Device: "pump-2"}},
			Preview: &Preview{Samples: []Sample{{Fleet: "acme", Original: `{"device_id":"pump-1"`},
				{Fleet: "acme", Device: "pump-2"}}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.db.ExecContext(ctx, `UPDATE replay_job SET state = $1, result = $2, position = '{"device":"pump-1"}', error = 'of pump-1' WHERE id = $3`,
			string(state), string(result), j.ID); err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	both, only, failed := make(Paused, "acme", "pump-1", "pump-2"), make(Queued, "", "pump-1"),
		make(Failed, "acme", "pump-1")
	done, all, other := make(Done, "acme", "pump-1"), make(Running, ""), make(Queued, "other", "pump-1")
	if err := tombstone.Migrate(ctx, s.db); err != nil {
		t.Fatal(err)
	}
	if n, err := countNaming(ctx, s.db, "acme", "pump-1"); err != nil || n[countJobs] != 5 {
		t.Fatal(n, err)
	}
	target := tombstone.Target{Job: "e", Fleet: "acme", Device: "pump-1"}
	for range 2 {
		if err := erase(ctx, s.db, target); err != nil {
			t.Fatal(err)
		}
	}
	counted := map[string]int64{}
	if err := tombstone.Counts(ctx, s.db, "e", counted); err != nil || counted[countJobs] != 5 {
		t.Fatal(counted, err)
	}
	for id, want := range map[string]string{both: "paused [pump-2]", only: "cancelled []", failed: "cancelled []",
		done: "done []", all: "running []"} {
		j, err := s.get(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(j)
		if err != nil || strings.Contains(string(raw)+string(j.position), "pump-1") || !strings.Contains(string(raw),
			"pump-2") {
			t.Errorf("%s %s, %v", raw, j.position, err)
		}
		if got := fmt.Sprint(j.State, " ", j.Devices); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if j, err := s.get(ctx, other); err != nil || len(j.Devices) != 1 || j.State != Queued {
		t.Errorf("another fleet's: %+v, %v", j, err)
	}
	if _, err := s.resume(ctx, failed); err == nil {
		t.Error("it would replay every device")
	}
	target = tombstone.Target{Job: "f", Fleet: "acme"}
	for range 2 {
		if err := erase(ctx, s.db, target); err != nil {
			t.Fatal(err)
		}
	}
	if j, err := s.get(ctx, both); err != nil || j.State != Cancelled ||
		len(j.Devices)+len(j.Left)+len(j.Preview.Samples) > 0 {
		t.Errorf("%+v, %v", j, err)
	}
}

// An enrich that begins again finds there what it kept before, and counts it: its account
// goes with its position, and stays where it ends.
func TestReplay_AnEnrichThatBeginsAgainCountsNothingTwice(t *testing.T) {
	w := newWorld(t)
	ctx, s := t.Context(), w.jobs
	from, to := time.Now().Add(-time.Hour), time.Now()
	if err := tombstone.Migrate(ctx, s.db); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode     Mode
		state    State
		position string
		again    bool
	}{{Enrich, Paused, "pump-1", true}, {Enrich, Failed, "pump-1", true}, {Enrich, Running, "pump-1", true},
		{Enrich, Running, "pump-2", false}, {Enrich, Done, "pump-1", false}, {Enrich, Cancelled, "pump-1", false},
		{Reprocess, Paused, "pump-1", false}} {
		j, err := s.Create(ctx, Spec{Mode: c.mode, From: &from, To: &to, Fleet: "acme", Reason: "of pump-1"}, "k", "")
		if err != nil {
			t.Fatal(err)
		}
		progress, err := json.Marshal(Progress{Total: 9, Read: 5,
			Lookups: []Account{{Lookup: "a", LookedAt: 5, Enriched: 5}}})
		if err == nil {
			_, err = s.db.ExecContext(ctx, `UPDATE replay_job SET state = $1, progress = $2, position = $3 WHERE id = $4`,
				string(c.state), string(progress), fmt.Sprintf(`{"device":%q}`, c.position), j.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := erase(ctx, s.db, tombstone.Target{Job: "e", Fleet: "acme", Device: "pump-1"}); err != nil {
			t.Fatal(err)
		}
		if j, err = s.get(ctx, j.ID); err != nil || j.State != c.state || (j.Progress.Read == 0) != c.again ||
			(len(j.Progress.Lookups) == 0) != c.again || c.again && string(j.position) != "null" {
			t.Errorf("%+v: %+v at %s, %v", c, j.Progress, j.position, err)
		}
	}
}
