package anomaly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/pure"
	"github.com/santhosh-tekuri/jsonschema/v5"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/rollup"
	"weir/tests/integration/require"
)

const hot = `rules: [{name: hot, detector: threshold, metrics: [t], max: 90}, {name: jump, detector: zscore, metrics: [t]}]`

// rig is a processor over temporary stores.
type rig struct {
	t     testing.TB
	dir   string
	p     *processor
	extra string

	server string // of both stores; "": SQLite files
}

// noStore as the server configures none.
const noStore = "none"

func newRigOn(t testing.TB, server, rules, extra string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), extra: extra, server: server}
	r.write(rules)
	r.start()
	return r
}

func newRig(t testing.TB, rules, extra string) *rig {
	t.Helper()
	return newRigOn(t, "", rules, extra)
}

func (r *rig) write(rules string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "rules.yaml"), []byte(rules), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) control() string {
	if r.server != "" {
		return r.server
	}
	return "sqlite://" + r.dir + "/control.db"
}

func (r *rig) rollups() string {
	if r.server != "" {
		return r.server
	}
	return "sqlite://" + r.dir + "/rollups.db"
}

// onEach runs a test on each kind of store; on the server, with a schema of its
// own.
func onEach(t *testing.T, rules string, test func(*testing.T, *rig)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newRig(t, rules, "")) })
	t.Run("postgres", func(t *testing.T) {
		server := require.Env(t, "WEIR_TEST_POSTGRES_URL")
		db, err := sqldb.Open(context.Background(), server)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("anomaly_%d", time.Now().UnixNano())
		if _, err := db.Exec("CREATE SCHEMA " + name); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("search_path", name)
		u.RawQuery = q.Encode()
		t.Cleanup(func() {
			if _, err := db.Exec("DROP SCHEMA " + name + " CASCADE"); err != nil {
				t.Error(err)
			}
			_ = db.Close()
		})
		test(t, newRigOn(t, u.String(), rules, ""))
	})
}

// start starts the processor, anew after a crash: nothing of the old one is
// left but what is in the stores.
func (r *rig) start() {
	r.t.Helper()
	control, rollups := r.control(), r.rollups()
	if r.server == noStore {
		control, rollups = "", ""
	}
	conf, err := spec().ParseYAML(fmt.Sprintf("rules: %s/rules.yaml\nreload: 20ms\ncontrol: %q\nrollups: %q\n%s",
		r.dir, control, rollups, r.extra), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.p, err = newProcessor(conf, service.MockResources()); err != nil {
		r.t.Fatal(err)
	}
	p := r.p
	r.t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			r.t.Error(err)
		}
	})
}

func body(device, firmware string, n int, at time.Time, value float64) string {
	return fmt.Sprintf(`{"event_id":"00000000-0000-4000-8000-%012x","device_id":%q,"device_firmware_version":%q,"timestamp":%q,"metrics":{"t":%g}}`,
		n, device, firmware, at.UTC().Format(time.RFC3339Nano), value)
}

// record is an event as the log delivers it.
func record(offset int, at time.Time, value float64) *service.Message {
	m := service.NewMessage([]byte(body("d", "1.0.0", offset, at, value)))
	m.MetaSetMut(event.HeaderFleet, "acme")
	m.MetaSetMut(event.HeaderReceivedAt, at.UTC().Format(event.TimeFormat))
	m.MetaSetMut("kafka_topic", "raw-events")
	m.MetaSetMut("kafka_partition", 0)
	m.MetaSetMut("kafka_offset", offset)
	return m
}

// mark runs messages through the processor and returns their transitions.
func (r *rig) mark(msgs ...*service.Message) (out []transition) {
	r.t.Helper()
	batches, err := r.p.ProcessBatch(context.Background(), msgs)
	if err != nil || len(batches) != 1 || len(batches[0]) != len(msgs) {
		r.t.Fatalf("%d batches: %v", len(batches), err)
	}
	for _, m := range msgs {
		if raw := event.Meta(m, metaAlerts); raw != "" {
			var list []transition
			if err := json.Unmarshal([]byte(raw), &list); err != nil {
				r.t.Fatal(err)
			}
			out = append(out, list...)
		}
	}
	return out
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestAnomaly_RedeliveryMovesNothingAndIsMarkedAsBefore(t *testing.T) {
	r := newRig(t, hot, "")
	first := r.mark(record(1, noon, 20), record(2, noon.Add(time.Second), 95))
	if len(first) != 1 || first[0].Transition != didOpen || first[0].EventID[35] != '2' {
		t.Fatalf("marked %+v", first)
	}
	for range 3 { // the alerts' topic was down
		again := r.mark(record(1, noon, 20), record(2, noon.Add(time.Second), 95))
		if len(again) != 1 || again[0].AlertID != first[0].AlertID || again[0].At != first[0].At {
			t.Fatalf("marked %+v", again)
		}
	}
	if n := r.p.state.shard(deviceKey{"acme", "d", false}).devices[deviceKey{"acme", "d",
		false}].series[0].recent.stats().n; n != 2 {
		t.Errorf("the window holds %v readings", n)
	}
	if out := r.mark(record(3, noon.Add(2*time.Second), 20)); len(out) != 1 || out[0].Transition != didResolve ||
		out[0].AlertID != first[0].AlertID {
		t.Errorf("marked %+v", out)
	}
}

func TestAnomaly_TransitionsAreAsTheirSchemaSays(t *testing.T) {
	schema, err := jsonschema.Compile("../../../schemas/alert/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, hot, "")
	offset := 0
	feed := func(value float64) *service.Message {
		offset++
		m := record(offset, noon.Add(time.Duration(offset)*10*time.Second), value)
		r.mark(m)
		return m
	}
	for i := range 30 {
		feed(50 + float64(i%3))
	}
	seen := 0
	for _, value := range []float64{95, 96, 95, 50, 51, 50} {
		raw := event.Meta(feed(value), metaAlerts)
		if raw == "" {
			continue
		}
		var list []any
		if err := json.Unmarshal([]byte(raw), &list); err != nil {
			t.Fatal(err)
		}
		for _, one := range list {
			seen++
			if err := schema.Validate(one); err != nil {
				t.Errorf("%v: %v", one, err)
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d transitions of two rules", seen)
	}
}

func TestAnomaly_CrashJudgesTheSameEventToTheSameAlert(t *testing.T) {
	r := newRig(t, hot, "")
	first := r.mark(record(7, noon, 95))
	r.start()
	if again := r.mark(record(7, noon, 95)); !reflect.DeepEqual(again, first) {
		t.Errorf("marked %+v, then %+v", first, again)
	}
}

func TestAnomaly_TopicMadeAnewIsJudged(t *testing.T) {
	r := newRig(t, hot, "")
	r.mark(record(1000, noon, 20))
	if out := r.mark(record(0, noon.Add(time.Hour), 95)); len(out) != 1 {
		t.Errorf("marked %+v", out)
	}
}

func TestAnomaly_DuplicatesReplaysAndUnknownMetricsAreNotJudged(t *testing.T) {
	r := newRig(t, hot, "")
	for name, header := range map[string][2]string{
		"duplicate":      {event.MetaDuplicateOf, "raw-events/1/1"},
		"replay":         {event.HeaderDelivery, "raw-events/1/1"},
		"replay for raw": {event.HeaderTarget, "raw,rollup"},
		"unknown metric": {event.HeaderUnknownMetrics, "x,t"},
	} {
		m := record(10, noon, 95)
		m.MetaSetMut("kafka_topic", name)
		m.MetaSetMut(header[0], header[1])
		if out := r.mark(m); len(out) != 0 {
			t.Errorf("%s: %+v", name, out)
		}
	}
	m := record(1, noon, 95)
	m.MetaSetMut("kafka_topic", "replay-events")
	m.MetaSetMut(event.HeaderDelivery, "raw-events/1/1")
	m.MetaSetMut(event.HeaderTarget, "detect")
	if out := r.mark(m); len(out) != 1 {
		t.Errorf("a replay that asks for it: %+v", out)
	}
}

func TestAnomaly_RulesFollowTheirFile(t *testing.T) {
	r := newRig(t, hot, "")
	opened := r.mark(record(1, noon, 95))
	r.write(`rules: [{name: hot, detector: threshold`)
	time.Sleep(60 * time.Millisecond)
	if out := r.mark(record(2, noon.Add(time.Second), 95)); len(out) != 0 {
		t.Fatalf("a wrong file changed %+v", out)
	}
	r.write(`rules: [{name: mild, detector: threshold, metrics: [t], max: 99}]`)
	deadline := time.Now().Add(5 * time.Second)
	for len(r.p.rules.Get().Rules) != 1 {
		if time.Now().After(deadline) {
			t.Fatal("the new file was not read")
		}
		time.Sleep(10 * time.Millisecond)
	}
	out := r.mark(record(3, noon.Add(2*time.Second), 100))
	if len(out) != 2 || out[0].Transition != didResolve || out[0].AlertID != opened[0].AlertID || out[1].Rule != "mild" {
		t.Errorf("marked %+v", out)
	}
}

// store writes events into the rollup store, as the rollup stream does.
func (r *rig) store(bodies ...string) {
	r.t.Helper()
	env := service.NewEnvironment()
	if err := rollup.Register(env); err != nil {
		r.t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	send, err := b.AddBatchProducerFunc()
	if err == nil {
		err = b.AddOutputYAML(fmt.Sprintf("rollup_store: {url: %q, batching: {count: 100000, period: 10ms, processors: "+
			"[{rollup: {}}]}}", r.rollups()))
	}
	if err == nil {
		err = b.SetLoggerYAML("level: ERROR")
	}
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	var batch service.MessageBatch
	for _, raw := range bodies {
		m := service.NewMessage([]byte(raw))
		m.MetaSetMut(event.HeaderFleet, "acme")
		batch = append(batch, m)
	}
	if err := send(context.Background(), batch); err != nil {
		r.t.Fatal(err)
	}
	if err := s.StopWithin(10 * time.Second); err != nil {
		r.t.Fatal(err)
	}
	<-done
}

// A window that lived through a restart is the one that did not.
func TestAnomaly_WindowOverARestartIsTheUnbrokenOne(t *testing.T) {
	onEach(t, hot, windowOverARestart)
}

func windowOverARestart(t *testing.T, r *rig) {
	value := func(i int) float64 { return 50 + float64(i*i%7) }
	var stored []string
	for i := range 500 {
		at := noon.Add(time.Duration(i) * 10 * time.Second)
		r.mark(record(i, at, value(i)))
		stored = append(stored, body("d", "1.0.0", i, at, value(i)))
	}
	key := deviceKey{"acme", "d", false}
	unbroken := r.p.state.shard(key).devices[key].series[0].recent.stats()
	r.store(stored...)
	r.start()
	next := noon.Add(500 * 10 * time.Second)
	out := r.mark(record(500, next, 89.5))
	s := &r.p.state.shard(key).devices[key].series[0]
	if len(out) != 1 || s.last != next.UnixMicro() {
		t.Fatalf("after the restart: %+v", out)
	}
	want := zscore(89.5, unbroken, floors{Relative: 0.001}, 0)
	if !near(*out[0].Score, want, 1e-6) || !near(*out[0].Expected, unbroken.mean, 1e-9) {
		t.Errorf("scores %v of %v, unbroken %v of %v", *out[0].Score, *out[0].Expected, want, unbroken.mean)
	}
}

func TestAnomaly_AnotherOwnerInBetweenMeansLoadingAgain(t *testing.T) {
	r := newRig(t, hot, "")
	r.mark(record(1, noon, 20))
	var stored []string
	for i := range 50 {
		stored = append(stored, body("d", "1.0.0", i, noon.Add(time.Duration(i)*time.Second), 50+float64(i%5)))
	}
	r.store(stored...)
	r.mark(record(60, noon.Add(time.Minute), 52)) // offsets 2 to 59 were judged elsewhere
	key := deviceKey{"acme", "d", false}
	if n := r.p.state.shard(key).devices[key].series[0].recent.stats().n; n != 51 {
		t.Errorf("the window holds %v readings, want 51", n)
	}
}

// What was known of a device stays in memory when a neighbour's record fails:
// nobody else has judged it.
func TestAnomaly_ARecordThatFailedMakesNoGap(t *testing.T) {
	r := newRig(t, hot, "")
	r.mark(record(1, noon, 20))
	key := deviceKey{"acme", "d", false}
	before := r.p.state.shard(key).devices[key]
	failed := record(2, noon, 20)
	failed.SetError(errors.New("no event"))
	r.mark(failed, record(3, noon.Add(time.Second), 20))
	if after := r.p.state.shard(key).devices[key]; after != before || after.epoch != 0 {
		t.Error("the device was read again")
	}
	r.mark(record(5, noon.Add(2*time.Second), 20)) // 4 was judged elsewhere
	if r.p.state.shard(key).devices[key] == before {
		t.Error("the device was not read again after a gap")
	}
}

// A fleet that comes all at once after a restart is known again, whatever the
// number of its devices is in one query's terms.
func TestAnomaly_ManyDevicesAreKnownAgainAfterARestart(t *testing.T) {
	onEach(t, hot, func(t *testing.T, r *rig) {
		var stored []string
		var batch []*service.Message
		for i := range loadChunk + 500 {
			name := fmt.Sprintf("d-%d", i)
			stored = append(stored, body(name, "1.0.0", i, noon, 50))
			m := record(i, noon.Add(time.Minute), 51)
			m.SetBytes([]byte(body(name, "1.0.0", i+10_000, noon.Add(time.Minute), 51)))
			batch = append(batch, m)
		}
		r.store(stored...)
		r.p.stores.timeout = time.Minute // however busy the machine is
		r.mark(batch...)
		for i := range batch {
			key := deviceKey{"acme", fmt.Sprintf("d-%d", i), false}
			if d := r.p.state.shard(key).devices[key]; !d.loaded || d.series[0].recent.stats().n != 2 {
				t.Fatalf("%s: loaded %v, %v readings in the window, want 2", key.device, d.loaded, d.series[0].recent.stats().n)
			}
		}
	})
}

func TestNumbers_ReadWhatTheRollupStoreWrites(t *testing.T) {
	for raw, want := range map[string][]float64{"[]": {}, "[1]": {1}, "[-1.5, 2e+10,0.1]": {-1.5, 2e10, 0.1}} {
		if got, err := numbers(nil, []byte(raw)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s is read as %v (%v)", raw, got, err)
		}
	}
	for _, raw := range []string{"", "[", "1", "[1", "[1,]", `["a"]`, "[1,,2]", "null"} {
		if got, err := numbers(nil, []byte(raw)); err == nil {
			t.Errorf("%q is read as %v", raw, got)
		}
	}
}

func TestAnomaly_OpenAlertOutlivesARestart(t *testing.T) {
	onEach(t, hot, openAlertOverARestart)
}

func openAlertOverARestart(t *testing.T, r *rig) {
	opened := r.mark(record(1, noon, 95))
	db, err := sqldb.Open(context.Background(), r.control())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	// what the alert store shows of its open alerts
	if _, err := db.Exec(fmt.Sprintf(`CREATE TABLE alert_open AS SELECT 'acme' AS fleet, 'd' AS device_id, 't' AS metric, 'hot' AS rule,
		'critical' AS severity, '%s' AS alert_id, %d AS opened_at`, opened[0].AlertID, noon.UnixMicro())); err != nil {
		t.Fatal(err)
	}
	r.start()
	if out := r.mark(record(2, noon.Add(time.Second), 96)); len(out) != 0 {
		t.Fatalf("opened again: %+v", out)
	}
	out := r.mark(record(3, noon.Add(2*time.Second), 20))
	if len(out) != 1 || out[0].Transition != didResolve || out[0].AlertID != opened[0].AlertID {
		t.Errorf("marked %+v", out)
	}
}

func TestAnomaly_StoreThatIsDownDelaysNothing(t *testing.T) {
	conf, err := spec().ParseYAML("rules: "+newRig(t, hot, "").dir+"/rules.yaml\ncontrol: sqlite:///dev/null/none", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(context.Background()); err != nil { // what it noted cannot be stored: it may say so
			t.Log(err)
		}
	}()
	r := &rig{t: t, p: p}
	if out := r.mark(record(1, noon, 95)); len(out) != 1 {
		t.Errorf("marked %+v", out)
	}
	start := time.Now()
	for i := range 100 {
		r.mark(record(i+2, noon.Add(time.Duration(i+1)*time.Second), 95))
	}
	if d := time.Since(start); d > 5*time.Second { // a wait for the store would be one for each
		t.Errorf("100 events took %s", d)
	}
}
