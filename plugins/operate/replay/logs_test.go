package replay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// Jobs of the two logs lie in one list and are run by a stream each: neither takes the
// other's, and what it publishes goes to the topic of its own log, for its consumers.
func TestReplay_EachLogsJobsAreItsOwnStreams(t *testing.T) {
	w := newWorld(t)
	w.fill(800)
	users := w.hours()
	users.Log = event.LogUsers
	theirs, ours := w.create(users), w.create(w.hours())
	stop := w.stream("  log: user-events\n", nil)
	j := w.until(theirs.ID, ended)
	if j.State != Done || j.Progress.Published != 800 || w.topics["user-replay-events"] != 800 || w.targets["raw"] != 800 {
		t.Fatalf("%s %q %+v, to %v for %v", j.State, j.Error, j.Progress, w.topics, w.targets)
	}
	if j := w.until(ours.ID, func(*Job) bool { return true }); j.State != Queued {
		t.Fatalf("the job of telemetry is %s", j.State)
	}
	stop()
	w.stream("", nil)
	j = w.until(ours.ID, ended)
	if j.State != Done || w.topics["replay-events"] != 800 || w.targets["raw,rollup"] != 800 {
		t.Fatalf("%s %q, to %v for %v", j.State, j.Error, w.topics, w.targets)
	}
	h := Handler(w.jobs, testGroups, w.kept())
	for query, want := range map[string][]string{"": {theirs.ID, ours.ID}, "?log=user-events": {theirs.ID},
		"?log=telemetry": {ours.ID}} {
		status, body := ask(t, h, http.MethodGet, "/v1/replays"+query, "")
		if got := idsIn(t, body); status != 200 || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: %d %v", query, status, got)
		}
	}
	if status, _ := ask(t, h, http.MethodGet, "/v1/replays?log=users", ""); status != 400 {
		t.Errorf("a log that is none was answered %d", status)
	}
	only := Handler(w.jobs, testGroups, map[string]Stored{event.LogTelemetry: w.stored()})
	for path, want := range map[string]int{"/v1/replays?log=user-events": 201, "/v1/replays?log=telemetry": 400} {
		body := `{"mode":"redrive","log":"user-events","reason":"why"}`
		if status, answer := ask(t, h, http.MethodPost, path, body); status != want {
			t.Errorf("%s: %d %s", path, status, answer)
		}
		if status, answer := ask(t, only, http.MethodPost, path, body); status != 400 {
			t.Errorf("where there are no such events, %s: %d %s", path, status, answer)
		}
	}
}

func idsIn(t *testing.T, body string) []string {
	t.Helper()
	var list struct{ Replays []Job }
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	var ids []string
	for _, j := range list.Replays {
		ids = append(ids, j.ID)
	}
	slices.Sort(ids)
	return ids
}

// What was stale goes back for who names that code, and says so to the stream, which
// holds all others to their age.
func TestRedrive_WhatWasStaleTakesAWayOfItsOwn(t *testing.T) {
	w := newWorld(t)
	for i, code := range []event.Code{event.CodeStale, event.CodeSchemaViolation, event.CodeStale} {
		w.letters = append(w.letters, &letter{ID: fmt.Sprint("l", i), Fleet: "f", Stage: stageIngest, Code: code,
			FailedAt: time.Date(2026, 11, 20, 10, 0, i, 0, time.UTC), Original: []byte(`{"n":1}`),
			Headers:  map[string]string{event.HeaderRegion: "DE"},
			Delivery: &event.Coordinates{Topic: "user-dead-letter", Offset: int64(i)}})
	}
	aged := map[int]int{}
	w.stream("  log: user-events\n", func(batch service.MessageBatch) error {
		for _, msg := range batch {
			if event.Meta(msg, metaAged) != event.Meta(batch[0], metaAged) || event.Meta(msg, metaValidate) != "1" ||
				event.Meta(msg, event.HeaderRegion) != "DE" {
				t.Errorf("a batch takes one way, and is judged")
			}
		}
		aged[len(event.Meta(batch[0], metaAged))] += len(batch)
		return nil
	})
	j := w.until(w.create(Spec{Mode: Redrive, Log: event.LogUsers, Codes: []event.Code{event.CodeStale,
		event.CodeSchemaViolation}}).ID, ended)
	if j.State != Done || j.Progress.Published != 3 || aged[1] != 2 || aged[0] != 1 || w.targets["raw"] != 3 {
		t.Errorf("%s %q %+v: %v, for %v", j.State, j.Error, j.Progress, aged, w.targets)
	}
}

// A stream of telemetry without a store of rollups would fail each rebuild.
func TestReplay_OnlyALogWithoutRollupsDoesWithoutTheirStore(t *testing.T) {
	for log, fine := range map[string]bool{event.LogTelemetry: false, event.LogUsers: true, "users": false} {
		parsed, err := inputSpec().ParseYAML(fmt.Sprintf("{ control: 'sqlite://%s/c.db', raw: 'mem://', dead_letter: "+
			"'mem://', "+
			"log: %s }", t.TempDir(), log), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newInput(parsed, service.MockResources(), stores()); (err == nil) != fine {
			t.Errorf("%s: %v", log, err)
		}
	}
}
