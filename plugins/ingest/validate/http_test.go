package validate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"weir/internal/platform/sqldb"
	"weir/plugins/ingest/registry"
)

// drafts is an empty registry with the shipped schemas.
func drafts(t *testing.T) (*registry.Registry, *sqldb.DB) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return r, db
}

func sent(i int, firmware string, metrics string) Sent {
	at := time.Unix(1764147600, 0).Add(-time.Duration(i) * time.Second)
	return Sent{Fleet: "plant-1", At: at, JSON: fmt.Appendf(nil,
		`{"event_id":%q,"device_id":"pump-%d","device_firmware_version":%q,"timestamp":%q,"metrics":%s}`, uuid.NewString(), i,
		firmware, at.UTC().Format(time.RFC3339), metrics)}
}

func postDraft(t *testing.T, h http.Handler, body string) (int, dryRunJSON, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/v1/schemas/dry-run", strings.NewReader(body)))
	var out dryRunJSON
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
	}
	return w.Code, out, w.Body.String()
}

const coolDraft = `{"$schema":"https://json-schema.org/draft/2020-12/schema","x-weir-firmware":">=2.0.0 <3.0.0","type":"object",` +
	`"required":["event_id","device_id","device_firmware_version","timestamp","metrics"],` +
	`"properties":{"metrics":{"type":"object","required":["cpu_temp"],"properties":{"cpu_temp":{"type":"number","maximum":60}},` +
	`"additionalProperties":{"type":"number"}}}}`

// It says how many would pass and fail and why, and registers nothing.
func TestDryRun_ADraftIsTriedOnTheNewestEventsAndNotRegistered(t *testing.T) {
	r, db := drafts(t)
	events := []Sent{sent(0, "2.0.0", `{"cpu_temp":61}`), sent(1, "2.1.0", `{"cpu_temp":99}`),
		sent(2, "2.0.0", `{"cpu_temp":20}`), sent(3, "2.0.0", `{"x":1}`), sent(4, "1.0.0", `{"cpu_temp":99}`)}
	asked := 0
	h := DryRunHandler(r, func(_ context.Context, fleet string, most int) ([]Sent, bool, error) {
		if fleet != "" {
			t.Errorf("a fleet that nobody named: %q", fleet)
		}
		asked = most
		return events, true, nil
	})
	count := func() (n int) {
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM weir_schema_version`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	text, _ := json.Marshal(coolDraft)
	for _, schema := range []string{coolDraft, string(text)} { // as JSON, and as its text
		status, got, body := postDraft(t, h, `{"schema":`+schema+`,"events":500}`)
		if status != 200 || asked != 500 || got.Read != 5 || got.Judged != 4 || got.Passed != 1 || got.Rejected != 3 ||
			got.Cut != nil ||
			!got.From.Equal(events[4].At) || !got.To.Equal(events[0].At) {
			t.Fatalf("%d %s", status, body)
		}
		if len(got.Rules) != 2 || got.Rules[0].Pointer != "/metrics/cpu_temp" || got.Rules[0].Count != 2 ||
			got.Rules[0].Examples[0].Device != "pump-0" || got.Rules[0].Examples[0].Fleet != "plant-1" {
			t.Fatalf("the rules are %s", body)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d versions became %d", before, after)
	}
	if status, got, body := postDraft(t, h, `{"schema":{"x-weir-firmware":">=9.0.0","type":"object"}}`); status != 200 ||
		got.Judged != 0 || !strings.Contains(body, `"rules":[]`) || asked != trialEvents {
		t.Errorf("a draft of firmware that nobody has: %d %s", status, body)
	}
}

// The gate's verdict on an event and the trial's are the same one.
func TestDryRun_TheShippedSchemasFailWhatTheGateFails(t *testing.T) {
	r, _ := drafts(t)
	set, err := registry.LoadSet(t.Context(), registry.Place{URL: "file://../../../schemas"}, "telemetry")
	if err != nil {
		t.Fatal(err)
	}
	events := []Sent{sent(0, "2.0.0", `{"cpu_temp":61,"battery_voltage":3,"vibration":1}`), sent(1, "2.0.0", `{"cpu_temp":61}`),
		sent(2, "2.9.0", `{"cpu_temp":1,"battery_voltage":3,"vibration":1,"new":1}`)}
	j, rejected := newJudge(rulesOf(set)), 0
	for _, e := range events {
		if j.judge(e.JSON).Rejection != nil {
			rejected++
		}
	}
	h := DryRunHandler(r, func(context.Context, string, int) ([]Sent, bool, error) { return events, true, nil })
	text, err := os.ReadFile("../../../schemas/telemetry/v2.json")
	if err != nil {
		t.Fatal(err)
	}
	if status, got, body := postDraft(t, h, `{"schema":`+string(text)+`}`); status != 200 ||
		got.Rejected != rejected || rejected != 1 {
		t.Errorf("the gate rejects %d: %d %s", rejected, status, body)
	}
}

func TestDryRun_WhatCannotBeTriedIsSaid(t *testing.T) {
	r, _ := drafts(t)
	var failure error
	whole := false
	h := DryRunHandler(r, func(context.Context, string, int) ([]Sent, bool, error) { return nil, whole, failure })
	for body, says := range map[string]string{
		`{`:                                     "body",
		`{}`:                                    "schema",
		`{"schema":{"type":"what"}}`:            "Invalid schema",
		`{"schema":{"$ref":"https://x.test/"}}`: "Invalid schema",
		`{"schema":{},"events":0}`:              "events",
		`{"schema":{},"events":10001}`:          "events",
		`{"schema":{},"register":true}`:         "register",
		`{"schema":"` + strings.Repeat("x", 2<<20): "body",
	} {
		if status, _, answer := postDraft(t, h, body); status != 400 || !strings.Contains(answer, says) {
			t.Errorf("%.60s was answered %d %s, want 400 with %s", body, status, answer, says)
		}
	}
	if status, got, body := postDraft(t, h, `{"schema":{}}`); status != 200 || got.Cut == nil || got.From != nil {
		t.Errorf("without time to read: %d %s", status, body)
	}
	failure = errors.New("dial tcp 10.0.0.7: refused")
	if status, _, body := postDraft(t, h, `{"schema":{}}`); status != 503 || strings.Contains(body, "10.0.0.7") {
		t.Errorf("a store that is down: %d %s", status, body)
	}
	if status, _, body := postDraft(t, DryRunHandler(r, nil), `{"schema":{}}`); status != 404 || !strings.Contains(body, "raw") {
		t.Errorf("without a store: %d %s", status, body)
	}
}

// A trial that goes on keeps its place; one more than may is refused at once.
func TestDryRun_OneMoreThanMayIsRefused(t *testing.T) {
	r, _ := drafts(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	h := DryRunHandler(r, func(context.Context, string, int) ([]Sent, bool, error) {
		inside <- struct{}{}
		<-leave
		return nil, true, nil
	})
	done := make(chan int, trialsAtOnce)
	for range trialsAtOnce {
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/schemas/dry-run", strings.NewReader(`{"schema":{}}`)))
			done <- w.Code
		}()
		<-inside
	}
	if status, _, body := postDraft(t, h, `{"schema":{}}`); status != 429 {
		t.Errorf("one more: %d %s", status, body)
	}
	close(leave)
	for range trialsAtOnce {
		if status := <-done; status != 200 {
			t.Errorf("one that had a place: %d", status)
		}
	}
	go func() { <-inside }()
	if status, _, body := postDraft(t, h, `{"schema":{}}`); status != 200 {
		t.Errorf("when there is room again: %d %s", status, body)
	}
}
