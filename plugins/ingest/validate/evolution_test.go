package validate

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/ingest/registry/compat"
)

func read(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestValidate_Firmware4IsABreakThatIsHandled walks through docs/schema-evolution.md:
// firmware 4 renames cpu_temp and measures it in kelvin.
func TestValidate_Firmware4IsABreakThatIsHandled(t *testing.T) {
	v4 := read(t, "../../../schemas/examples/telemetry/v4.json")
	careless := strings.Replace(v4, `"x-weir-major": 2,`, ``, 1)
	if careless == v4 {
		t.Fatal("the example names no major")
	}
	submit := func(text string) string {
		raw, err := json.Marshal(map[string]string{"schema": text, "schemaType": "JSON"})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	r := scratch(t)
	server := httptest.NewServer(r.Handler())
	defer server.Close()
	ask := func(path, body string, status int, want string) {
		t.Helper()
		res, err := http.Post(server.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != status || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %d %s (%v)", path, res.StatusCode, raw, err)
		}
	}

	// Before: the check reports exactly the rename, its unit and what follows.
	found, err := compat.LevelBackward.Check(compat.PolicyAdditive, []byte(careless), [][]byte{readShipped(t, 3)})
	if err != nil || len(found) != 2 ||
		found[0].Pointer != "/properties/metrics/properties/cpu_temp" || !strings.Contains(found[0].Message,
		"perhaps it is now processor_temperature, in K instead of °C") ||
		found[1].Pointer != "/properties/metrics/properties/processor_temperature" ||
		found[1].Rule != "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL" {
		t.Fatalf("got %v (%v)", found, err)
	}
	ask("/compatibility/subjects/telemetry/versions/latest?verbose=true", submit(careless), 200, `"is_compatible":false`)
	ask("/subjects/telemetry/versions", submit(careless), 409, `processor_temperature, in K instead of °C`)
	ask("/subjects/telemetry/versions", submit(v4), 200, `"version":4`)

	// After: four firmwares in one fleet, one series.
	p := validatorOf(t, "url: "+server.URL)
	var batch service.MessageBatch
	for _, raw := range []string{
		event1("1.0.0", `{"cpu_temp":61.25,"battery_voltage":3.7,"vibration":1}`),
		event1("2.0.0", `{"cpu_temp":61.25,"battery_voltage":3.7,"vibration":1,"humidity":40}`),
		event1("3.0.0", `{"cpu_temp":61.25,"battery_voltage":3.7,"flow_rate":7}`),
		event1("4.0.0", `{"processor_temperature":334.4,"battery_voltage":3.7,"flow_rate":7}`),
	} {
		batch = append(batch, message(raw))
	}
	if _, err := p.ProcessBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	upcast, err := bloblang.Parse(read(t, "../../../bloblang/upcast.blobl"))
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range batch {
		if err := m.GetError(); err != nil {
			t.Fatalf("firmware %d: %v", i+1, err)
		}
		if got, want := event.Meta(m, event.HeaderSchema), "telemetry/"+string(rune('1'+i)); got != want {
			t.Errorf("firmware %d: %s", i+1, got)
		}
		m, err := m.BloblangQuery(upcast)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := m.AsBytes()
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		if err := event.Parse(raw, &e); err != nil {
			t.Fatal(err)
		}
		seen := false
		for _, r := range e.Metrics {
			if r.Name == "cpu_temp" {
				seen = math.Abs(r.Value-61.25) < 1e-9
			}
			if r.Name == "processor_temperature" {
				t.Errorf("firmware %d: the old name stayed", i+1)
			}
		}
		if !seen {
			t.Errorf("firmware %d: cpu_temp is not 61.25 °C: %s", i+1, raw)
		}
	}
}

// BenchmarkUpcastOfOthers is what the mapping costs an event that it passes.
func BenchmarkUpcastOfOthers(b *testing.B) {
	upcast, err := bloblang.Parse(read(b, "../../../bloblang/upcast.blobl"))
	if err != nil {
		b.Fatal(err)
	}
	m := message(goodEvent, event.HeaderSchema, "telemetry/2")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.BloblangQuery(upcast); err != nil {
			b.Fatal(err)
		}
	}
}
