package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"weir/internal/event"
	"weir/plugins/ingest/registry"
)

func shipped(ctx context.Context) (*registry.Set, error) {
	return registry.LoadSet(ctx, registry.Place{URL: "file://../../../schemas"}, "telemetry")
}

// broken puts n dead letters of the ingest: their temperature is a text.
func (w *world) broken(n int, temperature string) {
	for range n {
		i := len(w.letters)
		w.letters = append(w.letters, &letter{ID: fmt.Sprint("l", i), Fleet: "f", Stage: stageIngest,
			Code: event.CodeSchemaViolation, Device: "d", FailedAt: time.Date(2026, 11, 20, 10, 0, i, 0, time.UTC),
			Original: fmt.Appendf(nil, `{"event_id":%q,"device_id":"d","device_firmware_version":"2.0.0",`+
				`"timestamp":"2026-11-20T10:00:00Z","metrics":{"cpu_temp":%q,"battery_voltage":3,"vibration":1}}`,
				uuid.NewString(), temperature)})
	}
}

func (w *world) tried(body string) (int, *Trial, string) {
	w.t.Helper()
	status, answer := ask(w.t, TryHandler(w.stored(), shipped, time.Now), "POST", "/v1/dead-letters/dry-run", body)
	t := new(Trial)
	if status == http.StatusOK {
		if err := json.Unmarshal([]byte(answer), t); err != nil {
			w.t.Fatalf("%v in %s", err, answer)
		}
	}
	return status, t, answer
}

const asNumber = `"patch":"root.metrics.cpu_temp = this.metrics.cpu_temp.number()"`

// Those that a patch repairs pass, the others say why; nothing is sent or noted.
func TestTry_SaysWhatWouldPassAndWhatWouldFailAgain(t *testing.T) {
	w := newWorld(t)
	w.broken(3, "61.5")
	w.broken(2, "hot")
	w.letters = append(w.letters, &letter{ID: "own", Fleet: "f", Stage: "rollup", Code: event.CodeStoreRejected,
		Original: []byte(`{"metrics":{"cpu_temp":1}}`)},
		&letter{ID: "none", Fleet: "f", Stage: "notify", Code: event.CodeStoreRejected, Original: []byte(`{}`)})
	if err := (lettersOf{w}).resolve(t.Context(), "x", []outcome{{ID: "l0", Published: true}}); err != nil {
		t.Fatal(err)
	}
	noted := len(w.outcomes)
	status, got, answer := w.tried(`{` + asNumber + `}`)
	if status != 200 || got.Tried != 5 || got.Accepted != 3 || got.Unjudged != 1 || got.Failing != 2 ||
		got.Resolved != 1 || got.Foreign != 1 || got.More || got.Cut != nil {
		t.Fatalf("%d %s", status, answer)
	}
	if e := got.Examples[0]; e.ID != "l1" || !strings.Contains(e.Original, `"61.5"`) || e.Patched == nil ||
		!strings.Contains(*e.Patched, `"cpu_temp":61.5`) || e.Problem != "" {
		t.Errorf("an example is %+v", e)
	}
	if len(got.Because) == 0 || len(got.Failures) != 2 || got.Failures[0].ID != "l3" || got.Failures[0].Message == "" {
		t.Errorf("the failures are %s", answer)
	}
	// Without a patch the ingest refuses what it has refused.
	if _, got, answer = w.tried(`{"codes":["schema_violation"],"ids":["l2"]}`); got.Tried != 1 || got.Failing != 1 ||
		got.Failures[0].Code != event.CodeSchemaViolation || got.Failures[0].Errors[0].Pointer != "/metrics/cpu_temp" {
		t.Errorf("without a patch: %s", answer)
	}
	if _, got, answer = w.tried(`{"patch":"root = deleted()","limit":2}`); got.Tried != 2 || got.Deleted != 2 || !got.More {
		t.Errorf("a patch that deletes: %s", answer)
	}
	jobs, err := w.jobs.list(t.Context(), "", "", time.Now().Add(time.Minute), 10)
	if err != nil || len(jobs) != 0 || len(w.outcomes) != noted {
		t.Errorf("trying made %d jobs and %d notes, %v", len(jobs), len(w.outcomes)-noted, err)
	}
}

// What a trial says of a letter is what the job does with it.
func TestTry_TheJobAcceptsWhatTheTrialDid(t *testing.T) {
	w := newWorld(t)
	w.broken(4, "61.5")
	w.broken(3, "hot")
	_, got, answer := w.tried(`{` + asNumber + `}`)
	w.stream("", nil)
	j := w.until(w.create(Spec{Mode: Redrive, Patch: `root.metrics.cpu_temp = this.metrics.cpu_temp.number()`}).ID, ended)
	if j.State != Done || j.Progress.Published != int64(got.Accepted) || j.Progress.Refused != int64(got.Failing) ||
		fmt.Sprint(j.Progress.Reasons) != fmt.Sprint(got.Because) {
		t.Errorf("the job: %s %+v; the trial: %s", j.State, j.Progress, answer)
	}
}

func TestTry_WhatCannotBeTriedIsSaid(t *testing.T) {
	w := newWorld(t)
	w.broken(1, "hot")
	for body, says := range map[string]string{
		`{"patch":"root = ("}`:             "patch",
		`{"patch":"root = env(\"HOME\")"}`: "patch",
		`{"limit":0}`:                      "limit",
		`{"limit":1001}`:                   "limit",
		`{"codes":["x"]}`:                  "codes",
		`{"mode":"redrive"}`:               "mode",
		`{"from":"2026-11-21T00:00:00Z","to":"2026-11-20T00:00:00Z"}`: "from",
	} {
		if status, _, answer := w.tried(body); status != 400 || !strings.Contains(answer, says) {
			t.Errorf("%s was answered %d %s", body, status, answer)
		}
	}
	status, answer := ask(t, TryHandler(Stored{}, shipped, time.Now), "POST", "/v1/dead-letters/dry-run", `{}`)
	if status != 404 || !strings.Contains(answer, "dead_letters") {
		t.Errorf("without a store: %d %s", status, answer)
	}
}
