package deadletter

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/lifecycle/expire"
	"weir/plugins/store/lake"
	"weir/tests/integration/testbed"
)

// decide posts a decision about a dead letter with the key of a fleet.
func decide(t *testing.T, h http.Handler, fleet, path, body string) (int, wholeJSON) {
	t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("X-Api-Key", fleet)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	(&apikey.Authenticator{Keys: fleetKeys{}}).Require(apikey.Route{Scope: apikey.Query, Unnamed: true}, h).ServeHTTP(w, r)
	var out wholeJSON
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, out
}

// A discarded dead letter stays in the list with the reason of the decision, and a redrive skips
// it. Another fleet cannot decide, a second decision changes nothing, and a dead letter that the
// log has accepted again cannot be discarded.
func TestReview_ADiscardedDeadLetterStaysAndIsNotSentBack(t *testing.T) {
	o := kept(t, lake.FileURL(t.TempDir()))
	letters := []*Envelope{}
	var batch service.MessageBatch
	for i, text := range []string{`{"n":1}`, `{"n":2}`} {
		e := NewEnvelope(Failure{Stage: "ingest", Fleet: "acme", FailedAt: someTime, Original: []byte(text),
			Rejection: event.Reject(event.CodeQuarantined, "", "hot")})
		letters = append(letters, e)
		batch = append(batch, message(0, i, mustJSON(t, e)))
	}
	if err := o.WriteBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	outcomes := decided(t)
	h := Handler(o.Store, outcomes, func() time.Time { return someTime.Add(time.Hour) })
	one, two := letters[0].ID, letters[1].ID
	path := "/v1/dead-letters/" + one + "/discard"
	for _, c := range []struct {
		fleet, path, body string
		want              int
	}{
		{"acme", path, `{}`, 400}, {"acme", path, `{"reason":""}`, 400}, {"acme", path, `{"reason":"x","y":1}`, 400},
		{"acme", path, `{"reason":"` + strings.Repeat("x", 1001) + `"}`, 400}, {"other", path, `{"reason":"x"}`, 404},
		{"acme", "/v1/dead-letters/x/discard", `{"reason":"x"}`, 404},
	} {
		if got, _ := decide(t, h, c.fleet, c.path, c.body); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.fleet, c.body[:min(len(c.body), 40)], got, c.want)
		}
	}
	var page pageJSON
	ask(t, h, "acme", "/v1/dead-letters", &page)
	if len(page.Letters) != 2 || page.Letters[0].Outcome != nil || page.Letters[1].Outcome != nil {
		t.Fatalf("before any decision: %+v", page)
	}
	status, d := decide(t, h, "acme", path, `{"reason":"a probe that lies"}`)
	if status != http.StatusOK || d.Outcome == nil || d.Outcome.State != "discarded" ||
		d.Outcome.Reason != "a probe that lies" || d.Outcome.Job != nil || d.Original != `{"n":1}` {
		t.Fatalf("%d %+v", status, d.Outcome)
	}
	if _, again := decide(t, h, "", path+"?failed_at="+letters[0].FailedAt, `{"reason":"other"}`); again.Outcome == nil ||
		again.Outcome.Reason != "a probe that lies" {
		t.Errorf("a second decision changed the first: %+v", again.Outcome)
	}
	resolved, err := outcomes.Resolved(t.Context(), []string{one, two})
	if err != nil || !resolved[one] || resolved[two] {
		t.Errorf("a redrive would skip %v (%v)", resolved, err)
	}
	ask(t, h, "acme", "/v1/dead-letters", &page)
	if len(page.Letters) != 2 {
		t.Errorf("the discarded dead letter is missing from the list: %+v", page)
	}

	if err := outcomes.Record(t.Context(), []Outcome{{ID: two, Job: "j", Published: true, At: someTime}}); err != nil {
		t.Fatal(err)
	}
	if status, _ := decide(t, h, "acme", "/v1/dead-letters/"+two+"/discard", `{"reason":"x"}`); status != http.StatusConflict {
		t.Errorf("a dead letter that was sent back was discarded: %d", status)
	}
}

// A redrive may be running while its dead letter is discarded. If it is published, that replaces the
// decision, and no later decision replaces it; if it fails, the decision stays.
func TestOutcomes_APublishedOneIsFinal(t *testing.T) {
	o := decided(t)
	record := func(published bool) {
		t.Helper()
		x := Outcome{ID: "1", Job: "j", Published: published, Reason: "bad", At: someTime}
		if err := o.Record(t.Context(), []Outcome{x}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(what string, x Outcome, published, discarded bool) {
		t.Helper()
		if x.Published != published || x.Discarded != discarded {
			t.Errorf("%s: %+v", what, x)
		}
	}
	discard := func() Outcome {
		t.Helper()
		x, err := o.Discard(t.Context(), "1", "ada", "why", someTime)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	reopen := func() Outcome {
		t.Helper()
		x, err := o.Reopen(t.Context(), "1")
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	of := func() Outcome {
		t.Helper()
		known, err := o.Of(t.Context(), []string{"1"})
		if err != nil {
			t.Fatal(err)
		}
		return known["1"]
	}
	record(false)
	is("failed again", of(), false, false)
	is("then discarded", discard(), false, true)
	record(false)
	is("failed once more, meanwhile", of(), false, true)
	if x := reopen(); x.ID != "" {
		t.Errorf("reopened: %+v", x)
	}
	is("discarded again", discard(), false, true)
	record(true)
	is("sent back meanwhile", of(), true, false)
	if x := of(); x.By != "" {
		t.Errorf("the published outcome still names %q, who had discarded the dead letter", x.By)
	}
	is("discarded after it was sent back", discard(), true, false)
	is("reopened after it was sent back", reopen(), true, false)
}

// An error of a config that begins with "quarantine:" gives the code quarantined and its text as the
// reason; any other error gives processing_failed.
func TestDeadLetter_AConfigQuarantinesEvents(t *testing.T) {
	for text, want := range map[string]event.Code{
		"failed assignment (line 1): quarantine: hotter than the sun": event.CodeQuarantined,
		"failed assignment (line 1): no such field":                   event.CodeProcessingFailed,
	} {
		msg := service.NewMessage([]byte(`{}`))
		msg.SetError(errors.New(text))
		r := rejectionOf(msg)
		if r.Code != want || want == event.CodeQuarantined && r.Errors[0].Message != "hotter than the sun" {
			t.Errorf("%s: %+v", text, r)
		}
	}
}

// Outcomes expire by the retention of their own log. Of returns an outcome whichever log it belongs
// to.
func TestOutcomes_ExpireWithTheirLog(t *testing.T) {
	db := testbed.SQLite(t)
	for _, log := range []string{event.LogTelemetry, event.LogUsers} {
		o, err := OpenOutcomes(t.Context(), db, log)
		if err == nil {
			err = o.Record(t.Context(), []Outcome{{ID: "of " + log, Job: "j", Published: true, At: someTime}})
		}
		if err == nil {
			_, err = o.Discard(t.Context(), "gone of "+log, "ann", "seen", someTime)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	left := func() (ids []string) {
		t.Helper()
		o, err := OpenOutcomes(t.Context(), db, event.LogTelemetry)
		if err != nil {
			t.Fatal(err)
		}
		known, err := o.Of(t.Context(), []string{"of telemetry", "gone of telemetry", "of user-events",
			"gone of user-events"})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(known))
	}
	later := someTime.Add(time.Hour)
	for log, want := range map[string]int64{event.LogUsers: 2, "": 2} {
		removed, err := expireOutcomes(t.Context(), db, expire.Pass{Now: later, Log: log}, later)
		if err != nil || removed.Rows != want {
			t.Errorf("expiry for log %q removed %+v, %v", log, removed, err)
		}
		if got := left(); log == event.LogUsers && slices.Contains(got, "of user-events") ||
			log == "" && slices.Contains(got, "of telemetry") {
			t.Errorf("expiry for log %q left %v", log, got)
		}
	}
	if got := left(); len(got) != 0 {
		t.Errorf("expiry for all logs left %v", got)
	}
	if _, err := expireOutcomes(t.Context(), db, expire.Pass{Now: later, Log: "users"}, later); err == nil {
		t.Error("expiry for an unknown log returned no error")
	}
}
