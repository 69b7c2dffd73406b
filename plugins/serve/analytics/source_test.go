package analytics

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"weir/plugins/process/rule"
)

// written is a result as a rule tells it.
const written = `{"id":"a1","revision":0,"status":"final","rule":"funnel_x","version":"1","fleet":"shop","key":` +
	`{"device_id":"d\u0031","n":7},"window_start":"2026-11-21T09:15:00.000000Z","window_end":"2026-11-21T09:16:00.5Z",` +
	`"count":4,"values":{"viewed":"2026-11-21T09:15:00Z","a\"dded":3,"ordered":null,"paid":1}}`

// What is read of a result is what a JSON reader reads of it.
func TestResult_IsReadAsAnyJSON(t *testing.T) {
	r, err := parse([]byte(written))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		ID, Status string
		Key        map[string]label
		Start      time.Time `json:"window_start"`
		End        time.Time `json:"window_end"`
	}
	if err := json.Unmarshal([]byte(written), &want); err != nil {
		t.Fatal(err)
	}
	if r.ID != want.ID || r.Status != want.Status || r.Key["device_id"] != "d1" || r.Key["n"] != "7" || len(r.Key) != 2 ||
		!r.Start.Equal(want.Start) || !r.End.Equal(want.End) || want.Key["device_id"] != "d1" {
		t.Errorf("%+v, want %+v", r, want)
	}
	names, made, err := rule.FunnelSteps(r.Values, 0)
	if err != nil || made != 2 || len(names) != 4 || names[1] != `a"dded` {
		t.Errorf("steps %q, %d made (%v)", names, made, err)
	}
	if r, err := parse([]byte(`{"id":"a1","status":"retracted","key":{}}`)); err != nil || r.Status != retracted ||
		!r.End.IsZero() {
		t.Errorf("%+v (%v)", r, err)
	}
	for _, bad := range []string{``, `[]`, `{"id":"a1"`, `{"window_end":"noon"}`, `{"key":7}`} {
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("read: %s", bad)
		}
	}
}

func BenchmarkResult(b *testing.B) {
	raw := []byte(strings.ReplaceAll(written, `\"`, ""))
	b.ReportAllocs()
	for b.Loop() {
		r, err := parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := rule.FunnelSteps(r.Values, 4); err != nil {
			b.Fatal(err)
		}
	}
}
