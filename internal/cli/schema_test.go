package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"
	"github.com/urfave/cli/v2"

	"weir/internal/event"
	"weir/plugins/store/raw"
)

// weir runs a command line and returns what it printed and its exit code.
func weir(t *testing.T, args ...string) (out string, code int, err error) {
	t.Helper()
	var buf bytes.Buffer
	app := &cli.App{Name: "weir", Commands: []*cli.Command{strict(schemaCommand())}, Writer: &buf, ErrWriter: &buf,
		ExitErrHandler: func(*cli.Context, error) {}}
	err = app.RunContext(t.Context(), append([]string{"weir"}, args...))
	return buf.String(), ExitCode(err), err
}

func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func contents(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// store puts events of firmware 3 into a raw store, one every minute.
func store(t *testing.T, url string, events []string) {
	t.Helper()
	env := service.NewEnvironment()
	if err := raw.Register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.SetLoggerYAML("level: ERROR"); err != nil {
		t.Fatal(err)
	}
	send, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddOutputYAML("raw_store:\n  url: " + url); err != nil {
		t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var batch service.MessageBatch
	for i, e := range events {
		m := service.NewMessage([]byte(e))
		for k, v := range map[string]any{"kafka_topic": "raw-events", "kafka_partition": 0, "kafka_offset": i,
			event.HeaderFleet: "plant-1", event.HeaderReceivedAt: time.Now().UTC().Format(event.TimeFormat),
			event.HeaderSchema: "telemetry/3"} {
			m.MetaSetMut(k, v)
		}
		batch = append(batch, m)
	}
	if err := send(ctx, batch); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestCLI_ACandidateIsCheckedBeforeItIsRegistered(t *testing.T) {
	dir := t.TempDir()
	data := lived(t)
	v3 := contents(t, "../../schemas/telemetry/v3.json")
	v4 := contents(t, "../../schemas/examples/telemetry/v4.json")
	added := file(t, dir, "added.json", strings.Replace(v3, `"flow_rate": {`,
		`"torque": {"type": "number"}, "flow_rate": {`, 1))
	careless := file(t, dir, "careless.json", strings.Replace(v4, `"x-weir-major": 2,`, "", 1))
	major := file(t, dir, "major.json", v4)
	useless := file(t, dir, "useless.json", strings.Replace(v3, `"flow_rate": {`,
		`"torque": {"type": "string"}, "flow_rate": {`, 1))

	for _, c := range []struct {
		args  []string
		code  int
		holds []string
	}{
		{[]string{"check", added, "--against", "latest", "--data", data}, 0,
			[]string{"is compatible with telemetry/3 (BACKWARD, additive policy)"}},
		{[]string{"check", "--data=" + data, "--against=1", added}, 0, []string{"is compatible with telemetry/1"}},
		{[]string{"check", "--data=" + data, added, "--against", "1", "--compatibility", "forward"}, 1,
			[]string{"REQUIRED_ATTRIBUTE_ADDED at #/properties/metrics/required/vibration"}},
		{[]string{"check", careless, "--data", data}, 1,
			[]string{"PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL at #/properties/metrics/properties/cpu_temp",
				"in K instead of °C"}},
		{[]string{"check", careless, "--data", data, "--json"}, 1, []string{`"compatible": false`}},
		{[]string{"check", careless, "--data", data, "--policy", "strict", "--compatibility", "NONE"}, 0,
			[]string{"is compatible"}},
		{[]string{"register", careless, "--data", data}, 1, nil},
		{[]string{"check", major, "--data", data}, 0, []string{"on purpose, by a new major", "processor_temperature"}},
		{[]string{"register", major, "--data", data}, 0, []string{"4\n"}},
		{[]string{"check", major, "--registry", "file://../../schemas", "--against", "3"}, 0, []string{"on purpose"}},
		{[]string{"check", added, "--registry", "file://../../schemas/examples", "--against", "4"}, 0,
			[]string{"breaks with telemetry/4 and is not held to it: it is of major 1, and that of 2"}},
		// the latest of its own major
		{[]string{"check", added, "--data", data}, 0, []string{"is compatible with telemetry/3"}},
		{[]string{"check", useless, "--data", data}, 1, []string{"it contradicts what every event must be: " +
			"#/properties/metrics/properties/torque/type: metric torque is a number"}},
		{[]string{"register", useless, "--data", data}, 1, nil},
		{[]string{"check", major, "--data", filepath.Join(dir, "none")}, 2, nil},
		{[]string{"check", major, "--nope"}, 2, nil},
		{[]string{"check", filepath.Join(dir, "none.json"), "--data", data}, 2, nil},
		{[]string{"check", added, "--against", "99", "--data", data}, 3, nil},
	} {
		out, code, err := weir(t, append([]string{"schema"}, c.args...)...)
		if code != c.code {
			t.Errorf("%v: exit code %d, want %d: %s %v", c.args, code, c.code, out, err)
		}
		for _, want := range c.holds {
			if !strings.Contains(out, want) {
				t.Errorf("%v: %q does not hold %q", c.args, out, want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("checking made a data directory")
	}
}

func TestCLI_ACandidateIsTriedOnRecentEvents(t *testing.T) {
	dir := t.TempDir()
	data := lived(t)
	var events []string
	for i := range 10 {
		events = append(events, fmt.Sprintf(`{"event_id":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e%02d","device_id":"pump-%d","device_firmware_version":"%d.0.0","timestamp":%q,"metrics":{"cpu_temp":%d,"battery_voltage":3.7}}`,
			i, i%3, 2+i%2, time.Now().Add(-time.Duration(i)*time.Minute).UTC().Format(time.RFC3339), 90+i))
	}
	store(t, "file://"+filepath.Join(data, "raw"), events)
	stricter := file(t, dir, "stricter.json", strings.Replace(contents(t, "../../schemas/telemetry/v3.json"),
		`"description": "Temperature of the processor.",`, `"maximum": 95,`, 1))
	out, code, err := weir(t, "schema", "check", stricter, "--replay", "1h", "--data", data)
	if code != 1 {
		t.Errorf("exit code %d (%v)", code, err)
	}
	for _, want := range []string{
		"MAXIMUM_ADDED at #/properties/metrics/properties/cpu_temp/maximum",
		"of 10 recent events, 5 are of its firmware, and 2 of those would be rejected",
		"2 × /metrics/cpu_temp: expected a number that is <= 95 (schema_violation)",
		"of device pump-", "in fleet plant-1, firmware 3.0.0",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\ndoes not say %q", out, want)
		}
	}
}
