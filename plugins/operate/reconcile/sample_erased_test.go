package reconcile

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/storeurl"
	"weir/plugins/process/rule"
	"weir/plugins/store/raw"
	"weir/tests/integration/require"
)

const summed = `rules: [{ name: minutes, across_devices: true, key: [this.metrics.kind], window: { type: tumbling, size: 1m,
  allowed_lateness: 0s }, select: { n: count(), t: sum(this.metrics.kind), who: sketch(this.device_id) } }]`

// share is what one minute of a kind comes to.
type share struct {
	Minute  string  `json:"minute"`
	Kind    float64 `json:"kind"`
	N       int64   `json:"n"`
	Sum     float64 `json:"t"`
	Devices int64   `json:"who"`
}

// byDuckDB are the parts that DuckDB counts in the raw store's files.
func (w *world) byDuckDB() map[string]share {
	w.Helper()
	cmd := exec.Command(require.Python(w.T, "../../.."), "-c", `
import duckdb, json, sys
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
for row in db.execute("""SELECT strftime(date_trunc('minute', timestamp), '%Y-%m-%dT%H:%M:%S.%fZ'), kind, count(*),
        sum(kind), count(DISTINCT device_id)
    FROM (SELECT timestamp, device_id, metrics['kind'] AS kind FROM read_parquet(?, union_by_name = true))
    GROUP BY 1, 2""", [sys.argv[1]]).fetchall():
    print(json.dumps(dict(zip(("minute", "kind", "n", "t", "who"), row))))
`, filepath.Join(strings.TrimPrefix(w.rawURL, "file://"), "**", "*.parquet"))
	out, err := cmd.Output()
	if err != nil {
		w.Fatalf("%v %s", err, out)
	}
	parts := map[string]share{}
	for line := range strings.Lines(string(out)) {
		var p share
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			w.Fatalf("%v: %s", err, line)
		}
		parts[fmt.Sprint(p.Minute, p.Kind)] = p
	}
	return parts
}

// told are the parts that rules told.
func (w *world) told(db *sqldb.DB) map[string]share {
	w.Helper()
	parts := map[string]share{}
	err := rule.Each(w.Context(), db, rule.Query{Fleet: "f", Rule: "minutes", To: time.Now().Add(time.Hour)},
		func(_ string, raw []byte) error {
			var r struct {
				Key    map[string]float64
				Start  string `json:"window_start"`
				Values struct {
					N   int64
					T   float64
					Who string
				}
			}
			if err := json.Unmarshal(raw, &r); err != nil {
				return err
			}
			var devices rule.Uniques
			err := devices.Add(r.Values.Who)
			p := share{r.Start, r.Key["metrics.kind"], r.Values.N, r.Values.T, devices.Count()}
			parts[fmt.Sprint(p.Minute, p.Kind)] = p
			return err
		})
	if err != nil {
		w.Fatal(err)
	}
	return parts
}

// erase takes a device out of the raw store, and of what rules keep.
func (w *world) erase(control, fleet, device string) {
	w.Helper()
	places := lifecycle.NewPlaces(service.MockResources(), map[lifecycle.Place]string{lifecycle.Control: control,
		lifecycle.Raw: w.rawURL})
	w.Cleanup(places.Close)
	now := time.Now()
	target := tombstone.Target{Job: "job-1", Fleet: fleet, Device: device, Until: now.UnixMicro(), Buried: now.UnixMicro()}
	var stores []lifecycle.Store
	for _, kind := range []lifecycle.Kind{rule.Lifecycle(), rule.SketchLifecycle(), raw.Lifecycle()} {
		s, err := kind.Open(w.Context(), places)
		if err == nil {
			err = s.Bury(w.Context(), target.Stone())
		}
		if err != nil {
			w.Fatal(err)
		}
		stores = append(stores, s)
	}
	for _, s := range stores {
		free := func() error { return nil }
		if err := s.Erase(w.Context(), lifecycle.Erasure{Target: target, Held: free}); err != nil {
			w.Fatal(err)
		}
	}
}

// What an erasure takes out of the raw store stays in sums of all devices. The proof
// tells of how many events that is: as DuckDB counts what is left, to the last one. A
// sum that is off by one more is a loss.
func TestReconcile_SumsAfterAnErasureAreExplained(t *testing.T) {
	w := newWorld(t)
	control := storeurl.New("sqlite", filepath.Join(t.TempDir(), "control.db"))
	db, err := sqldb.Open(t.Context(), control)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r := rand.New(rand.NewPCG(17, 4))
	begin := time.Now().Add(-2 * time.Hour).Truncate(time.Minute)
	var batch service.MessageBatch
	for i := range 300 {
		w.readingOf(fmt.Sprintf("d-%d", r.IntN(4)), begin.Add(time.Duration(i)*2*time.Second), "kind", float64(r.IntN(3)))
	}
	end := w.readingOf("d-9", begin.Add(time.Hour), "kind", 9) + 1 // time passes
	for o := range end {
		batch = append(batch, w.message("raw-events", 0, o))
	}
	w.push(w.counting(control, summed), batch)
	w.store("raw-events", 0, 0, end)
	w.commit("weir-raw", "raw-events", 0, end)
	conf := w.config()
	conf.Control, conf.Sampling = db, Sampling{Most: 100, Seed: 9}
	run := func() *Report {
		t.Helper()
		a, err := New(conf)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		return w.run(a, Options{})
	}
	told, stored := w.told(db), w.byDuckDB()
	for at, p := range told {
		if stored[at] != p {
			t.Fatalf("before: told %+v, stored %+v", p, stored[at])
		}
	}
	if s := run().Sample; s == nil || s.Right != len(told) || s.Sampled != len(told) || len(told) < 25 {
		t.Fatalf("%d were told: %+v", len(told), s)
	}
	w.erase(control, "f", "d-2")
	if now := w.told(db); len(now) != len(told) {
		t.Fatalf("sums of all devices are not what they were: %v, then %v", told, now)
	}
	stored = w.byDuckDB()
	parts, events := 0, int64(0)
	for at, p := range told {
		if off := p.N - stored[at].N; off > 0 {
			parts, events = parts+1, events+off
		}
	}
	report := run()
	if s := report.Sample; report.Loss() || s.Erased != parts || s.ErasedEvents != events || parts < 10 ||
		s.Right != len(told)-parts {
		t.Errorf("by DuckDB %d parts count %d events that are gone: %+v %v", parts, events, s, report.Problems)
	}
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil ||
		!strings.Contains(table.String(), fmt.Sprintf("%d right but for %d events that were erased", parts, events)) {
		t.Errorf("%v %s", err, table.String())
	}
	if _, err := db.Exec(`UPDATE rule_result
		SET result = replace(replace(result, '"count":', '"count":1'), '"n":', '"n":1')`); err != nil {
		t.Fatal(err)
	}
	if report = run(); !report.Loss() || len(report.Sample.Differing) != len(told) {
		t.Errorf("sums that were changed: %+v", report.Sample)
	}
	if !slices.ContainsFunc(report.Problems, func(p string) bool { return strings.Contains(p, "rule minutes") }) {
		t.Errorf("%q", report.Problems)
	}
}

// What rules made of events about people is told with their log alone.
func TestReconcile_RulesAreOfTheirLog(t *testing.T) {
	for topic, want := range map[string]string{"raw-events": event.LogTelemetry, "payments": event.LogTelemetry,
		"payments+user-events": event.LogTelemetry, "user-events": event.LogUsers, "user-replay-events": event.LogUsers} {
		for _, log := range event.Logs() {
			if (Config{Events: log.Name}).mine(topic) != (log.Name == want) {
				t.Errorf("%s is told with %s: %t", topic, log.Name, log.Name != want)
			}
		}
	}
}
