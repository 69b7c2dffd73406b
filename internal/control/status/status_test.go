package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"weir/internal/platform/prom"
	"weir/tests/integration/testbed"
)

func store(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), testbed.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Store) listed(t *testing.T) []Row {
	t.Helper()
	rows, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// A process that was killed is named until its successor is at its place, one
// that ended as asked is not, and one of long ago is forgotten.
func TestStatus_WhoIsGoneIsNamed(t *testing.T) {
	s := store(t)
	first := Row{ID: "a/1", PID: 1, Streams: []string{"raw"}, StartedAt: time.Now().UTC()}
	next := Row{ID: "a/1", PID: 2, StartedAt: time.Now().UTC()}
	ancient := Row{ID: "c/1", PID: 4}
	for _, r := range []Row{first, {ID: "b/1", PID: 3}, ancient} {
		if err := s.Beat(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for id, ago := range map[string]float64{"a/1": 25, "c/1": 2 * forgetAfter.Seconds()} {
		if _, err := s.db.Exec(`UPDATE process_status SET seen_at = seen_at - $1 WHERE id = $2`, ago, id); err != nil {
			t.Fatal(err)
		}
	}
	if rows := s.listed(t); len(rows) != 3 || !rows[0].Gone() || rows[1].Gone() || rows[0].Streams[0] != "raw" ||
		rows[0].Age < 24*time.Second || rows[0].Age > 10*time.Minute || time.Since(rows[0].SeenAt) < 24*time.Second {
		t.Errorf("the rows are %+v", rows)
	}
	if err := s.Beat(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if rows := s.listed(t); len(rows) != 2 || rows[0].Gone() || rows[0].PID != 2 {
		t.Errorf("after the restart: %+v", rows)
	}
	if err := s.Leave(t.Context(), first); err != nil { // of before the restart
		t.Fatal(err)
	}
	if rows := s.listed(t); len(rows) != 2 {
		t.Errorf("its successor went with it: %+v", rows)
	}
	if err := s.Leave(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if rows := s.listed(t); len(rows) != 1 || rows[0].ID != "b/1" {
		t.Errorf("after it left: %+v", rows)
	}
}

func TestCounts_AreWhatTheMetricsSay(t *testing.T) {
	scrape, err := prom.Parse(strings.NewReader(`# HELP weir_gate_accepted_events_total x
# TYPE weir_gate_accepted_events_total counter
weir_gate_accepted_events_total{stream="ingest"} 7
weir_gate_accepted_events_total{stream="other"} 3
# TYPE weir_gate_rejected_events_total counter
weir_gate_rejected_events_total{code="invalid_json"} 0
# TYPE weir_gate_requests_total counter
weir_gate_requests_total{status="202"} 4
weir_gate_requests_total{status="400"} 1
# TYPE weir_gate_request_seconds histogram
weir_gate_request_seconds_bucket{le="0.5"} 3
weir_gate_request_seconds_bucket{le="+Inf"} 5
weir_gate_request_seconds_sum 9
weir_gate_request_seconds_count 5
# TYPE weir_raw_store_up gauge
weir_raw_store_up{stream="a"} 1
weir_raw_store_up{stream="b"} 0
# TYPE output_sent_total counter
output_sent_total{label="raw_store",path="root.output",stream="raw"} 9
# TYPE output_error_total counter
output_error_total{label="raw_store",path="root.output",stream="raw"} 2
# TYPE go_goroutines gauge
go_goroutines 5
`), Wanted)
	if err != nil {
		t.Fatal(err)
	}
	if scrape.Series["go_goroutines"] != nil {
		t.Error("what is not wanted was read")
	}
	c := Counted(scrape, time.Now())
	if !c.Gate || c.Rejected["invalid_json"] != 0 || c.Accepted != 10 || c.Requests["202"] != 4 ||
		c.Requests["400"] != 1 || c.Up["raw"] ||
		len(c.Flows) != 1 || c.Flows[0].Events != 9 || c.Flows[0].Errors != 2 || len(c.Verdicts) != 2 ||
		c.Verdicts[1].Count != 5 {
		t.Errorf("counted %+v", c)
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
}
