package deadletter

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/event"
	"weir/schemas"
)

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	raw, err := schemas.FS().ReadFile("dead_letter/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat = true
	if err := c.AddResource("dead_letter.json", bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("dead_letter.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t testing.TB, s *jsonschema.Schema, raw []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Fatalf("%s\n%#v", raw, err)
	}
}

var someTime = time.Date(2026, 11, 21, 9, 30, 0, 123456000, time.UTC)

func failures() []Failure {
	record := event.Coordinates{Topic: "raw-events", Partition: 3, Offset: 17}
	first := event.Coordinates{Topic: "raw-events", Partition: 2, Offset: 1}
	return []Failure{
		{Stage: "ingest", Rejection: event.Reject(event.CodeInvalidJSON, "", "expected a value"),
			Original: []byte("not json"), Fleet: "acme", Received: someTime.Format(event.TimeFormat), FailedAt: someTime},
		{Stage: "ingest", Rejection: event.Reject(event.CodeSchemaViolation, "/metrics/cpu_temp", "is required"),
			Original: []byte(`{"device_id":"d1","event_id":"0f8fad5b-d9cb-469f-a165-70867728950e","metrics":{}}`), Fleet: "acme",
			Index: 4, FailedAt: someTime},
		{Stage: "raw", Rejection: &event.Rejection{Code: event.CodeInvalidEvent}, Original: []byte{0xff, 0x00, 0xfe},
			Record: &record, FailedAt: someTime},
		{Stage: "rollup", Rejection: event.Reject(event.CodeStoreRejected, "", "too large"), Original: nil, Record: &record,
			Delivery: &first, Headers: map[string]string{"weir_fleet": "acme", "traceparent": "00-1-2-3"}, FailedAt: someTime},
	}
}

func TestDeadLetter_EveryEnvelopeFollowsItsSchemaAndKeepsTheBytes(t *testing.T) {
	s := schema(t)
	for _, f := range failures() {
		e := NewEnvelope(f)
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		validate(t, s, raw)
		back, err := ParseEnvelope(raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := back.originalBytes()
		if err != nil || !bytes.Equal(got, f.Original) {
			t.Fatalf("got %q, %v; want %q", got, err, f.Original)
		}
		row, err := back.row()
		if err != nil {
			t.Fatal(err)
		}
		again, err := row.envelope()
		if err != nil {
			t.Fatal(err)
		}
		if want, got := string(raw), mustJSON(t, again); want != got {
			t.Fatalf("the envelope changed when it was made a row and back:\n%s\n%s", want, got)
		}
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDeadLetter_TheSchemaListsEveryCode(t *testing.T) {
	raw, err := schemas.FS().ReadFile("dead_letter/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Properties struct {
			Code struct {
				Enum []event.Code `json:"enum"`
			} `json:"code"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if got, want := mustJSON(t, doc.Properties.Code.Enum), mustJSON(t, event.Codes()); got != want {
		t.Fatalf("the schema has %s, weir has %s", got, want)
	}
}

func TestDeadLetter_TheSameFailureHasTheSameID(t *testing.T) {
	seen := map[string]int{}
	for i, f := range failures() {
		a := NewEnvelope(f)
		f.FailedAt = f.FailedAt.Add(time.Hour)
		if f.Record != nil {
			f.Record = &event.Coordinates{Topic: f.Record.Topic, Partition: f.Record.Partition, Offset: int64(i)}
			a = NewEnvelope(f)
		}
		if b := NewEnvelope(f); a.ID != b.ID {
			t.Fatalf("%d: ids %s and %s", i, a.ID, b.ID)
		}
		f.Stage = "other"
		for _, id := range []string{a.ID, NewEnvelope(f).ID} {
			if other, dup := seen[id]; dup {
				t.Fatalf("failures %d and %d share id %s", other, i, id)
			}
			seen[id] = i
		}
	}
}

func TestDeadLetter_TheDeviceIsFoundInTruncatedBytes(t *testing.T) {
	for raw, want := range map[string][2]string{
		`{"device_id":"d1","metrics":{"a":`:                                     {"d1", ""},
		`{"metrics":{"a":"x"},"device_id":"d1","event_id":"nope"}`:              {"d1", ""},
		`{"event_id":"0f8fad5b-d9cb-469f-a165-70867728950e","device_id":"a b"}`: {"", "0f8fad5b-d9cb-469f-a165-70867728950e"},
		`[1]`: {}, ``: {}, `{"device_id":7}`: {},
	} {
		if device, id := identify([]byte(raw)); [2]string{device, id} != want {
			t.Errorf("%s: got %q, %q", raw, device, id)
		}
	}
}

func FuzzAnyBytesMakeAnEnvelope(f *testing.F) {
	f.Add([]byte(`{"device_id":"d1"}`), "raw", "acme")
	f.Add([]byte{0xff, '{'}, "", "")
	s := schema(f)
	f.Fuzz(func(t *testing.T, original []byte, message, fleet string) {
		e := NewEnvelope(Failure{Stage: "raw", Rejection: event.Reject(event.CodeInvalidJSON, "", message),
			Original: original, Fleet: fleet, FailedAt: someTime})
		raw := mustJSON(t, e)
		validate(t, s, []byte(raw))
		back, err := ParseEnvelope([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := back.originalBytes(); err != nil || !bytes.Equal(got, original) {
			t.Fatalf("got %q, %v", got, err)
		}
		if strings.Contains(e.ID, " ") {
			t.Fatal(e.ID)
		}
	})
}
