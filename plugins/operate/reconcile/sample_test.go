package reconcile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
	"weir/plugins/process/rule"
	"weir/tests/integration/testbed"
)

const (
	sampled = `rules: [{ name: minute, key: [device_id], select: { n: count(), t: sum(this.metrics.cpu_temp) },
  window: { type: tumbling, size: 1m, allowed_lateness: 0s } }]`
	canonical = `root = if @weir_schema == "telemetry/4" { this.merge({"metrics":{"cpu_temp": this.metrics.kelvin - 273}}) }`
)

// counting is an output of rules on a control store.
func (w *world) counting(control, rules string) service.MessageBatchHandlerFunc {
	w.Helper()
	env := service.NewEnvironment()
	if err := rule.Register(env); err != nil {
		w.Fatal(err)
	}
	b := env.NewStreamBuilder()
	push, err := b.AddBatchProducerFunc()
	file := filepath.Join(w.TempDir(), "rules.yaml")
	if err == nil {
		err = os.WriteFile(file, []byte(rules), 0o600)
	}
	if err == nil {
		err = b.AddOutputYAML(fmt.Sprintf("event_rules:\n  rules: %q\n  url: %q\n  processors: [ { mapping: %q } ]\n",
			file, control, canonical))
	}
	if err == nil {
		err = b.SetLoggerYAML("level: ERROR")
	}
	if err != nil {
		w.Fatal(err)
	}
	testbed.Run(w, b)
	return push
}

// reading appends an event to raw-events/0.
func (w *world) reading(at time.Time, metric string, value float64) int64 {
	w.Helper()
	return w.readingOf("d-1", at, metric, value)
}

func (w *world) readingOf(device string, at time.Time, metric string, value float64) int64 {
	w.Helper()
	return w.readingIn("f", device, at, metric, value)
}

func (w *world) readingIn(fleet, device string, at time.Time, metric string, value float64) int64 {
	w.Helper()
	schema := "telemetry/1"
	if metric == "kelvin" {
		schema = "telemetry/4"
	}
	r := &kgo.Record{Topic: w.prefix + "raw-events", Key: []byte(device), Value: fmt.Appendf(nil,
		`{"event_id":%q,"device_id":%q,"device_firmware_version":"1.2.0","timestamp":%q,"metrics":{%q:%v}}`,
		uuid.NewString(), device, at.UTC().Format(time.RFC3339Nano), metric, value),
		Headers: []kgo.RecordHeader{{Key: event.HeaderFleet, Value: []byte(fleet)},
			{Key: event.HeaderSchema, Value: []byte(schema)},
			{Key: event.HeaderReceivedAt, Value: []byte(at.UTC().Format(event.TimeFormat))}}}
	if err := w.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
	w.records[event.Coordinates{Topic: r.Topic, Offset: r.Offset}] = r
	return r.Offset
}

// What the rules of a file told is computed again from the raw store, by the mapping
// that the rules stream had, or where it did not write that down by the one that is
// named: what differs is a loss, and named.
func TestReconcile_ComputesResultsOfRulesAgain(t *testing.T) {
	w := newWorld(t)
	control := storeurl.New("sqlite", filepath.Join(t.TempDir(), "control.db"))
	db, err := sqldb.Open(t.Context(), control)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	begin := time.Now().Add(-time.Hour).Truncate(time.Minute)
	w.reading(begin, "cpu_temp", 40)
	w.reading(begin.Add(time.Second), "kelvin", 300)
	end := w.reading(begin.Add(30*time.Minute), "cpu_temp", 42) + 1
	var batch service.MessageBatch
	for o := range end {
		batch = append(batch, w.message("raw-events", 0, o))
	}
	w.push(w.counting(control, sampled), batch)
	w.store("raw-events", 0, 0, end)
	w.commit("weir-raw", "raw-events", 0, end)
	upcast, err := bloblang.Parse(canonical)
	if err != nil {
		t.Fatal(err)
	}
	run := func(s Sampling) *Report {
		t.Helper()
		conf := w.config()
		conf.Control, conf.Sampling = db, s
		a, err := New(conf)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		return w.run(a, Options{})
	}
	r := run(Sampling{Most: 5, Seed: 3})
	if r.Loss() || r.Sample == nil || r.Sample.Right != 1 || r.Sample.Sampled != 1 || r.Sample.Seed != 3 {
		t.Fatalf("%+v %+v", r.Sample, r.Problems)
	}
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil || !strings.Contains(table.String(), "1 results of rules computed again") {
		t.Errorf("%v %s", err, table.String())
	}
	if _, err := db.Exec(`DELETE FROM rule_reading`); err != nil { // an older weir wrote none
		t.Fatal(err)
	}
	if r := run(Sampling{Most: 5, Upcast: upcast, Mapped: true}); r.Loss() || r.Sample.Right != 1 {
		t.Errorf("with a mapping that is named: %+v", r.Sample)
	}
	if r := run(Sampling{Most: 5}); r.Loss() || r.Sample.Skipped[rule.SkippedMapping] != 1 {
		t.Errorf("without the mapping: %+v", r.Sample)
	}
	if r := run(Sampling{}); r.Sample != nil {
		t.Errorf("none is asked for: %+v", r.Sample)
	}
	if _, err := db.Exec(`UPDATE rule_result SET result = replace(result, '"n":2', '"n":3')`); err != nil {
		t.Fatal(err)
	}
	r = run(Sampling{Most: 5, Upcast: upcast, Mapped: true})
	if !r.Loss() || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "rule minute") ||
		!strings.Contains(r.Problems[0], "raw-events/0/0 to raw-events/0/1") ||
		!strings.Contains(r.Problems[0], "come to: n") {
		t.Errorf("a result that was changed: %q", r.Problems)
	}
}
