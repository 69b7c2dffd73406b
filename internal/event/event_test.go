package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

const sample = `{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":"device-0042","device_firmware_version":"2.4.1","timestamp":"2026-11-21T09:30:00.123Z","metrics":{"cpu_temp":61.25,"battery_voltage":3.71,"vibration":0.042,"pressure":101.3,"humidity":44.5},"diagnostics":{"uptime_s":86400,"rssi":-61}}`

func TestEvent_AnEventIsReadWhole(t *testing.T) {
	raw := []byte(strings.Replace(sample, `{`, `{"site":{"a":[1]},`, 1))
	var e Event
	for range 2 { // again into the same event
		if err := Parse(raw, &e); err != nil {
			t.Fatal(err)
		}
	}
	if e.ID != "6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b" || e.UUID[0] != 0x6f || e.UUID[15] != 0x5b ||
		e.Device != "device-0042" || e.Firmware != "2.4.1" || e.TimeText != "2026-11-21T09:30:00.123Z" ||
		!e.Time.Equal(time.Date(2026, 11, 21, 9, 30, 0, 123e6, time.UTC)) ||
		string(e.Diagnostics) != `{"uptime_s":86400,"rssi":-61}` {
		t.Errorf("got %+v", e)
	}
	if len(e.Metrics) != 5 || e.Metrics[2].Name != "vibration" || e.Metrics[2].Value != 0.042 ||
		string(e.Metrics[2].Raw) != "0.042" {
		t.Errorf("metrics %+v", e.Metrics)
	}
	if len(e.Extra) != 1 || e.Extra[0].Name != "site" || string(e.Extra[0].Raw) != `{"a":[1]}` {
		t.Errorf("extra %+v", e.Extra)
	}
	received := time.Unix(7, 0)
	if !e.At(received, true).Equal(received) || !e.At(received, false).Equal(e.Time) {
		t.Error("the time an event counts at")
	}
}

func TestEvent_ARefusalNamesItsPlace(t *testing.T) {
	swap := func(old, new string) string {
		s := strings.Replace(sample, old, new, 1)
		if s == sample {
			t.Fatalf("%q is not in the sample", old)
		}
		return s
	}
	for _, c := range []struct {
		raw      string
		code     Code
		pointers string
	}{
		{``, CodeInvalidJSON, ""},
		{`{`, CodeInvalidJSON, ""},
		{sample + "x", CodeInvalidJSON, ""},
		{`[`, CodeInvalidJSON, ""},
		{`[1]`, CodeInvalidEvent, ""},
		{`null`, CodeInvalidEvent, ""},
		{`{}`, CodeInvalidEvent, "/event_id /device_id /device_firmware_version /timestamp /metrics"},
		{swap(`"2.4.1"`, `2`), CodeInvalidEvent, "/device_firmware_version"},
		{swap(`"2.4.1"`, `""`), CodeInvalidEvent, "/device_firmware_version"},
		{swap(`6f1c`, `6f1`), CodeInvalidEvent, "/event_id"},
		{swap(`6f1c`, `6f1g`), CodeInvalidEvent, "/event_id"},
		{swap(`device-0042`, ``), CodeInvalidEvent, "/device_id"},
		{swap(`device-0042`, `a b`), CodeInvalidEvent, "/device_id"},
		{swap(`.123Z`, ``), CodeInvalidEvent, "/timestamp"},
		{swap(`61.25`, `"61"`), CodeInvalidEvent, "/metrics/cpu_temp"},
		{swap(`61.25`, `null`), CodeInvalidEvent, "/metrics/cpu_temp"},
		{swap(`61.25`, `nul`), CodeInvalidJSON, ""},
		{swap(`61.25`, `1e400`), CodeInvalidJSON, ""},
		{swap(`61.25`, ``), CodeInvalidJSON, ""},
		{swap(`"cpu_temp":61.25`, `"a/b~":"x"`), CodeInvalidEvent, "/metrics/a~1b~0"},
		{swap(`{"cpu_temp":61.25,"battery_voltage":3.71,"vibration":0.042,"pressure":101.3,"humidity":44.5}`, `[]`),
			CodeInvalidEvent, "/metrics"},
		{swap(`{"uptime_s":86400,"rssi":-61}`, `"x"`), CodeInvalidEvent, "/diagnostics"},
		{swap(`"rssi"`, `"uptime_s"`), CodeInvalidJSON, ""},
		{swap(`"pressure"`, `"cpu_temp"`), CodeInvalidJSON, ""},
		{swap(`"diagnostics"`, `"device_id"`), CodeInvalidJSON, ""},
	} {
		var e Event
		var r *Rejection
		if err := Parse([]byte(c.raw), &e); !errors.As(err, &r) {
			t.Errorf("%s: %v", c.raw, err)
			continue
		}
		var at []string
		for _, fe := range r.Errors {
			at = append(at, fe.Pointer)
		}
		if got := strings.Join(at, " "); r.Code != c.code || got != c.pointers {
			t.Errorf("%s: %s at %q, want %s at %q", c.raw, r.Code, got, c.code, c.pointers)
		}
	}
}

func TestEvent_AnEmptyMetricsObjectIsAnEvent(t *testing.T) {
	i := strings.Index(sample, `{"cpu_temp"`)
	j := strings.Index(sample, `,"diagnostics"`)
	var e Event
	if err := Parse([]byte(sample[:i]+"{}"+sample[j:]), &e); err != nil || len(e.Metrics) != 0 {
		t.Errorf("got %v, %v", err, e.Metrics)
	}
}

// FuzzParse compares what is read with encoding/json.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(strings.Replace(sample, `"cpu_temp"`, `"cpu\u005ftemp"`, 1)))
	f.Add([]byte(`{"event_id":1,"metrics":{"a":[}}`))
	f.Add([]byte(strings.Replace(sample, `{`, `{"extra":[null,{"a":"b"}],`, 1)))
	var e Event
	f.Fuzz(func(t *testing.T, b []byte) {
		err := Parse(b, &e)
		var r *Rejection
		if err != nil && (!errors.As(err, &r) || len(r.Errors) == 0 || r.Code != CodeInvalidJSON &&
			r.Code != CodeInvalidEvent) {
			t.Fatalf("%q: %v", b, err)
		}
		if err != nil {
			return
		}
		var all map[string]json.RawMessage
		var want struct {
			ID        string             `json:"event_id"`
			Device    string             `json:"device_id"`
			Firmware  string             `json:"device_firmware_version"`
			Timestamp string             `json:"timestamp"`
			Metrics   map[string]float64 `json:"metrics"`
		}
		if err := errors.Join(json.Unmarshal(b, &all), json.Unmarshal(b, &want)); err != nil {
			if strings.Contains(err.Error(), "Go struct field") { // encoding/json matches names of any case
				return
			}
			t.Fatalf("%q: accepted, encoding/json says %v", b, err)
		}
		for _, name := range []string{FieldID, FieldDevice, FieldFirmware, FieldTimestamp, FieldMetrics, FieldDiagnostics} {
			delete(all, name)
		}
		for name := range all {
			for _, known := range []string{FieldID, FieldDevice, FieldFirmware, FieldTimestamp, FieldMetrics} {
				if strings.EqualFold(name, known) {
					return
				}
			}
		}
		if e.ID != want.ID || e.Device != want.Device || e.Firmware != want.Firmware || e.TimeText != want.Timestamp ||
			len(e.Metrics) != len(want.Metrics) || len(e.Extra) != len(all) {
			t.Fatalf("%q: got %+v, want %+v", b, e, want)
		}
		for _, m := range e.Metrics {
			if v, ok := want.Metrics[m.Name]; !ok || math.Float64bits(v) != math.Float64bits(m.Value) {
				t.Fatalf("%q: metric %q is %v, want %v", b, m.Name, m.Value, v)
			}
		}
	})
}

func TestEvent_ParsingAgainDoesNotAllocate(t *testing.T) {
	raw := []byte(sample)
	var e Event
	if n := testing.AllocsPerRun(100, func() {
		if err := Parse(raw, &e); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEvent_HeadersHoldAnyName(t *testing.T) {
	items := []string{"a", "a,b", "100%", "%2C", ",", "%", "", "%%", "é", "%25,"}
	var list []byte
	for _, it := range items {
		list = AppendItem(list, it)
	}
	if got := Items(string(list)); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", items) {
		t.Errorf("got %q, want %q", got, items)
	}
	for _, it := range items {
		if !HasFlag(string(list), it) {
			t.Errorf("%q is not in %q", it, list)
		}
	}
	for _, no := range []string{"b", "2C", "%25", "10"} {
		if HasFlag(string(list), no) {
			t.Errorf("%q is in %q", no, list)
		}
	}
	if Items("") != nil || HasFlag("", "") || HasFlag("", "late") {
		t.Error("an absent header holds something")
	}
}

func TestEvent_PointersAreEscaped(t *testing.T) {
	for in, want := range map[string]string{"": "", "a": "a", "a/b": "a~1b", "~": "~0", "~1/é": "~01~1é"} {
		if got := EscapePointer(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	raw := []byte(sample)
	var e Event
	b.ReportAllocs()
	for b.Loop() {
		if err := Parse(raw, &e); err != nil {
			b.Fatal(err)
		}
	}
}
