package validate

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"testing"

	"weir/internal/event"
	"weir/internal/platform/schemadoc"
	"weir/plugins/ingest/registry"
	"weir/schemas"
)

const goodEvent = `{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":"device-0042","device_firmware_version":"2.4.1","timestamp":"2026-11-21T09:30:00.123Z","metrics":{"cpu_temp":61.25,"battery_voltage":3.71,"vibration":0.042,"pressure":101.3,"humidity":44.5},"diagnostics":{"uptime_s":86400,"rssi":-61}}`

// shipped compiles the schema files that the binary carries.
func shipped(t testing.TB) *rules {
	t.Helper()
	files, err := fs.Glob(schemas.FS(), "telemetry/v*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("shipped schemas: %v, %v", files, err)
	}
	var all []*registry.Schema
	for _, f := range files {
		raw, err := fs.ReadFile(schemas.FS(), f)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSuffix(path.Base(f)[1:], ".json"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := registry.Compile("telemetry", n, raw)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	r := rulesOf(registry.NewSet("telemetry", all))
	for _, s := range r.schemas {
		if s.plan == nil {
			t.Fatalf("%s has no plan", s.Name())
		}
	}
	return r
}

func readShipped(t testing.TB, version int) []byte {
	t.Helper()
	raw, err := fs.ReadFile(schemas.FS(), fmt.Sprintf("telemetry/v%d.json", version))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func event1(firmware, metrics string) string {
	return fmt.Sprintf(`{"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b","device_id":"d1","device_firmware_version":%q,"timestamp":"2026-11-21T09:30:00Z","metrics":%s}`, firmware, metrics)
}

func TestValidate_EachFirmwareIsHeldToItsSchema(t *testing.T) {
	set := shipped(t)
	for _, c := range []struct{ firmware, metrics, schema, code, pointers string }{
		{"1.0.0", `{"cpu_temp":1,"battery_voltage":2,"vibration":3}`, "telemetry/1", "", ""},
		{"1.99.99", `{"cpu_temp":1,"battery_voltage":2}`, "", "schema_violation", "/metrics/vibration"},
		{"2.0.0", `{"cpu_temp":1,"battery_voltage":2,"vibration":3,"pressure":4}`, "telemetry/2", "", ""},
		{"2.0.0-rc.1", `{"cpu_temp":1,"battery_voltage":2,"vibration":3,"pressure":4}`, "telemetry/2", "", ""},
		{"3.1.0", `{"cpu_temp":1,"battery_voltage":2}`, "telemetry/3", "", ""},
		{"3.1.0", `{"cpu_temp":"1","battery_voltage":null}`, "", "schema_violation",
			"/metrics/battery_voltage /metrics/cpu_temp"},
		{"3.1.0", `{"cpu_temp":1,"battery_voltage":2,"new one":"x"}`, "", "schema_violation", "/metrics/new one"},
		{"3.1.0", `{"cpu_temp":1,"battery_voltage":2,"a/b~c":"x"}`, "", "schema_violation", "/metrics/a~1b~0c"},
		{"3.1.0", `{}`, "", "schema_violation", "/metrics/battery_voltage /metrics/cpu_temp"},
		{"3.1.0", `[]`, "", "schema_violation", "/metrics"},
		{"4.0.0", `{}`, "", "unknown_firmware", "/device_firmware_version"},
		{"banana", `{}`, "", "unknown_firmware", "/device_firmware_version"},
		{"0.9.9", `{}`, "", "unknown_firmware", "/device_firmware_version"},
	} {
		v := newJudge(set).judge([]byte(event1(c.firmware, c.metrics)))
		check(t, c.firmware+" "+c.metrics, v, c.schema, c.code, c.pointers)
	}
}

func check(t *testing.T, what string, v verdict, schema, code, pointers string) {
	t.Helper()
	if code == "" {
		if v.Rejection != nil {
			t.Errorf("%s: rejected: %v", what, v.Rejection.Errors)
		} else if v.Schema.Name() != schema {
			t.Errorf("%s: schema %s, want %s", what, v.Schema.Name(), schema)
		}
		return
	}
	if v.Rejection == nil {
		t.Errorf("%s: accepted, want %s", what, code)
		return
	}
	var at []string
	for _, e := range v.Rejection.Errors {
		at = append(at, e.Pointer)
		if e.Message == "" {
			t.Errorf("%s: %s has no message", what, e.Pointer)
		}
	}
	if got := strings.Join(at, " "); string(v.Rejection.Code) != code || got != pointers {
		t.Errorf("%s: %s at %q, want %s at %q: %v", what, v.Rejection.Code, got, code, pointers, v.Rejection.Errors)
	}
}

func TestValidate_BadInputIsNamedForWhatItIs(t *testing.T) {
	set := shipped(t)
	swap := func(old, new string) string { return strings.Replace(goodEvent, old, new, 1) }
	for _, c := range []struct{ name, raw, code, pointers string }{
		{"empty", ``, "invalid_json", ""},
		{"truncated", goodEvent[:len(goodEvent)-2], "invalid_json", ""},
		{"two values", goodEvent + goodEvent, "invalid_json", ""},
		{"duplicate key", swap(`"rssi"`, `"uptime_s"`), "invalid_json", ""},
		{"duplicate metric", swap(`"pressure"`, `"cpu_temp"`), "invalid_json", ""},
		{"duplicate key, escaped", swap(`"rssi"`, `"uptime\u005fs"`), "invalid_json", ""},
		{"NaN", swap(`61.25`, `NaN`), "invalid_json", ""},
		{"beyond a double", swap(`61.25`, `1e999`), "invalid_json", ""},
		{"deep", swap(`-61`, strings.Repeat("[", 100)+strings.Repeat("]", 100)), "invalid_json", ""},
		{"not UTF-8", swap(`device-0042`, "\xff"), "invalid_json", ""},
		{"array", `[1]`, "invalid_event", ""},
		{"number", `1`, "invalid_event", ""},
		{"empty object", `{}`, "invalid_event", "/event_id /device_id /device_firmware_version /timestamp /metrics"},
		{"no firmware", swap(`"device_firmware_version":"2.4.1",`, ``), "invalid_event", "/device_firmware_version"},
		{"firmware is a number", swap(`"2.4.1"`, `2.4`), "invalid_event", "/device_firmware_version"},
		{"no id", swap(`"event_id":"6f1c2a34-9b7d-4e21-8a55-0c1d2e3f4a5b",`, ``), "schema_violation", "/event_id"},
		{"id is no UUID", swap(`6f1c2a34-`, `6f1c2a34`), "schema_violation", "/event_id"},
		{"time without zone", swap(`.123Z`, ``), "schema_violation", "/timestamp"},
		{"no such day", swap(`2026-11-21`, `2026-02-29`), "schema_violation", "/timestamp"},
		{"device with a space", swap(`device-0042`, `device 0042`), "schema_violation", "/device_id"},
		{"long device", swap(`device-0042`, strings.Repeat("x", 129)), "schema_violation", "/device_id"},
		{"diagnostics", swap(`{"uptime_s":86400,"rssi":-61}`, `[]`), "schema_violation", "/diagnostics"},
		{"several", swap(`.123Z`, ``)[:200] + `"metrics":{}}`, "schema_violation", ""},
	} {
		if c.name == "several" {
			c.raw = event1("2.0.0", `{"cpu_temp":"x","vibration":1}`)
			c.raw = strings.Replace(c.raw, `"d1"`, `""`, 1)
			c.pointers = "/device_id /metrics/battery_voltage /metrics/cpu_temp"
		}
		check(t, c.name, newJudge(set).judge([]byte(c.raw)), "", c.code, c.pointers)
	}
}

func TestValidate_UnknownFirmwareNamesWhatIsKnown(t *testing.T) {
	v := newJudge(shipped(t)).judge([]byte(event1("9.1.0", `{}`)))
	if v.Rejection == nil || v.Rejection.Code != event.CodeUnknownFirmware {
		t.Fatalf("got %+v", v)
	}
	for _, want := range []string{`"9.1.0"`, ">=1.0.0 <2.0.0 (telemetry/1)", ">=3.0.0 <4.0.0 (telemetry/3)"} {
		if !strings.Contains(v.Rejection.Errors[0].Message, want) {
			t.Errorf("%q does not name %s", v.Rejection.Errors[0].Message, want)
		}
	}
}

func TestValidate_ValidEventsTakeTheQuickWay(t *testing.T) {
	set := shipped(t)
	j := newJudge(set)
	for _, raw := range []string{
		goodEvent,
		event1("1.0.0", `{"cpu_temp":1e2,"battery_voltage":-2.5E-3,"vibration":0}`),
		event1("3.0.0", "\n{ \"cpu_temp\" : 1 ,\t\"battery_voltage\":2, \"x\":3, \"y\":4 }"),
		strings.Replace(goodEvent, `"rssi"`, `"r\u00e9ssi"`, 1),
		strings.Replace(goodEvent, `.123Z`, `+05:30`, 1),
	} {
		v, ok := j.quick([]byte(raw))
		if !ok {
			t.Errorf("not decided by the plan: %s", raw)
			continue
		}
		s := newJudge(set).slow([]byte(raw))
		if s.Rejection != nil || s.Schema != v.Schema || s.Device != v.Device || !s.Time.Equal(v.Time) ||
			fmt.Sprintf("%q", s.Metrics) != fmt.Sprintf("%q", v.Metrics) || fmt.Sprintf("%q", s.Fields) != fmt.Sprintf("%q",
			v.Fields) {
			t.Errorf("quick %+v, slow %+v", v, s)
		}
	}
	if n := testing.AllocsPerRun(100, func() { j.judge([]byte(goodEvent)) }); n > 1 {
		t.Errorf("%v allocations for a valid event, want at most 1", n)
	}
}

func TestValidate_UndeclaredNamesAreReported(t *testing.T) {
	raw := strings.Replace(event1("3.0.0", `{"cpu_temp":1,"battery_voltage":2,"x":3,"y":4}`), `{`, `{"site":"a",`, 1)
	v := newJudge(shipped(t)).judge([]byte(raw))
	if got := fmt.Sprintf("%s %s", v.Metrics, v.Fields); got != "[x y] [site]" {
		t.Errorf("got %s", got)
	}
}

func BenchmarkJudge(b *testing.B) {
	j := newJudge(shipped(b))
	raw := []byte(goodEvent)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if v := j.judge(raw); v.Rejection != nil {
			b.Fatal(v.Rejection)
		}
	}
}

// BenchmarkDecodeAndLibrary is the peer: encoding/json and jsonschema v5.
func BenchmarkDecodeAndLibrary(b *testing.B) {
	set := shipped(b)
	s := set.forFirmware([]byte("2.4.1"))
	raw := []byte(goodEvent)
	b.ReportAllocs()
	for b.Loop() {
		doc, err := schemadoc.Decode(raw)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Library.Validate(doc); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJudgeMixedFirmware changes firmware with every event: each is begun
// by the wrong schema's plan.
func BenchmarkJudgeMixedFirmware(b *testing.B) {
	j := newJudge(shipped(b))
	var events [][]byte
	for _, firmware := range []string{"1.2.3", "2.4.1", "3.0.0"} {
		events = append(events, []byte(strings.Replace(goodEvent, "2.4.1", firmware, 1)))
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if v := j.judge(events[n%len(events)]); v.Rejection != nil {
			b.Fatal(v.Rejection)
		}
	}
}

func TestValidate_SchemasBeyondPlansAreJudgedByTheLibrary(t *testing.T) {
	raw := strings.Replace(string(readShipped(t, 3)), `"additionalProperties"`,
		`"propertyNames": {"maxLength": 20}, "additionalProperties"`, 1)
	s, err := registry.Compile("telemetry", 3, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	set := rulesOf(registry.NewSet("telemetry", []*registry.Schema{s}))
	if set.schemas[0].plan != nil {
		t.Fatal("it has a plan")
	}
	v := newJudge(set).judge([]byte(event1("3.0.0", `{"cpu_temp":1,"battery_voltage":2,"x":3}`)))
	check(t, "valid", v, "telemetry/3", "", "")
	if fmt.Sprintf("%s", v.Metrics) != "[x]" || v.Device != "d1" {
		t.Errorf("got %+v", v)
	}
	v = newJudge(set).judge([]byte(event1("3.0.0", `{"cpu_temp":1,"battery_voltage":2,"a_name_that_is_far_too_long":3}`)))
	check(t, "invalid", v, "", "schema_violation", "/metrics/a_name_that_is_far_too_long")
}

func TestValidate_AnEventMustBeOneWhateverItsSchemaSays(t *testing.T) {
	lax, err := registry.Compile("telemetry", 1, []byte(`{"x-weir-firmware":">=1","type":"object"}`))
	if err != nil {
		t.Fatal(err)
	}
	set := rulesOf(registry.NewSet("telemetry", []*registry.Schema{lax}))
	if set.schemas[0].plan == nil {
		t.Fatal("it has no plan")
	}
	check(t, "an event", newJudge(set).judge([]byte(event1("1.0.0", `{"a":1}`))), "telemetry/1", "", "")
	for raw, pointers := range map[string]string{
		event1("1.0.0", `{"a":"x"}`):                                             "/metrics/a",
		event1("1.0.0", `[]`):                                                    "/metrics",
		strings.Replace(event1("1.0.0", `{}`), `"d1"`, `"d 1"`, 1):               "/device_id",
		strings.Replace(event1("1.0.0", `{}`), `"timestamp"`, `"time"`, 1):       "/timestamp",
		strings.Replace(event1("1.0.0", `{},"diagnostics":1`), `"d1"`, `"d"`, 1): "/diagnostics",
	} {
		check(t, raw, newJudge(set).judge([]byte(raw)), "", "invalid_event", pointers)
	}
}
