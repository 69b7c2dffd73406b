package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/auditlog"
	"weir/internal/control/group"
	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/erasure"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/tests/integration/require"
)

// erasable are stores that the rooms' own outputs fill.
type erasable struct {
	*testing.T
	env    *service.Environment
	stores erasure.Stores
	urls   map[string]string
	offset int
}

func newErasable(t *testing.T, sql, blobs func(name string) string) *erasable {
	t.Helper()
	ctx := t.Context()
	w := &erasable{T: t, env: service.GlobalEnvironment().Clone(), urls: map[string]string{}}
	if err := Register(w.env); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]**sqldb.DB{"rollups": &w.stores.Rollups, "control": &w.stores.Control} {
		w.urls[name] = sql(name)
		db, err := sqldb.Open(ctx, w.urls[name])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		*to = db
	}
	for name, to := range map[string]**lake.Store{"raw": &w.stores.Raw, "dead": &w.stores.DeadLetter} {
		w.urls[name] = blobs(name)
		s, err := lake.Open(ctx, w.urls[name])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = s.List(context.Background(), "", func(b lake.Blob) error { return s.Remove(context.Background(), b.Key) })
			_ = s.Close()
		})
		*to = s
	}
	return w
}

// send runs a stream of one output on some messages, and ends it.
func (w *erasable) send(output string, batch service.MessageBatch) {
	w.Helper()
	b := w.env.NewStreamBuilder()
	push, err := b.AddBatchProducerFunc()
	if err != nil {
		w.Fatal(err)
	}
	if err := b.AddOutputYAML(output); err != nil {
		w.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: ERROR"); err != nil {
		w.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		w.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- stream.Run(context.Background()) }()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	if err := push(ctx, batch); err != nil {
		w.Fatal(err)
	}
	if err := stream.StopWithin(10 * time.Second); err != nil {
		w.Fatal(err)
	}
	<-done
}

// happened puts events of a device where the streams would.
func (w *erasable) happened(device string, received time.Time, n int) {
	w.Helper()
	var events, letters service.MessageBatch
	for range n {
		w.offset++
		at := received.UTC()
		msg := service.NewMessage(fmt.Appendf(nil, `{"event_id":%q,"device_id":%q,"device_firmware_version":"2.0.0","timestamp":%q,"metrics":{"cpu_temp":50}}`,
			uuid.NewString(), device, at.Format(time.RFC3339Nano)))
		for name, v := range map[string]any{event.HeaderFleet: "acme", event.HeaderReceivedAt: at.Format(event.TimeFormat), "kafka_topic": "raw-events", "kafka_partition": 0, "kafka_offset": w.offset} {
			msg.MetaSetMut(name, v)
		}
		events = append(events, msg)
	}
	letter := events[0].Copy()
	event.MarkRejected(letter, event.Reject(event.CodeInvalidEvent, "", "x"))
	letters = append(letters, letter)
	w.send(fmt.Sprintf("raw_store:\n  url: %q\n", w.urls["raw"]), copies(events))
	w.send(fmt.Sprintf("dead_letter_store:\n  url: %q\nprocessors:\n  - dead_letter:\n      stage: rollup\n", w.urls["dead"]), letters)
	w.send(fmt.Sprintf("rollup_store:\n  url: %q\n  batching:\n    count: %d\n    period: 100ms\n    processors:\n      - rollup: {}\n", w.urls["rollups"], n), copies(events))
	alert, err := json.Marshal(map[string]any{"alert_id": uuid.NewString(), "kind": "metric", "rule": "hot", "severity": "warning", "fleet": "acme", "device_id": device,
		"metric": "cpu_temp", "summary": "hot " + device, "at": received.UTC().Format(event.TimeFormat), "received_at": received.UTC().Format(event.TimeFormat)})
	if err != nil {
		w.Fatal(err)
	}
	w.send(fmt.Sprintf("alert_store:\n  url: %q\n", w.urls["control"]), service.MessageBatch{service.NewMessage(alert)})
}

func copies(batch service.MessageBatch) (out service.MessageBatch) {
	for _, msg := range batch {
		out = append(out, msg.Copy())
	}
	return out
}

func (w *erasable) counted(parts []erasure.Part, device string) map[string]int64 {
	w.Helper()
	all := map[string]int64{}
	for _, p := range parts {
		n, err := p.Count(w.Context(), "acme", device)
		if err != nil {
			w.Fatalf("%s: %v", p.Name, err)
		}
		for what, n := range n {
			if n > 0 {
				all[what] = n
			}
		}
	}
	return all
}

// The parts together leave nothing of a device, and count what they delete as
// they had counted it before; what came later, and shared a window of rollups
// with what is gone, is counted again.
func everyPart(t *testing.T, w *erasable) {
	ctx := t.Context()
	parts, err := erasureParts(ctx, w.stores)
	if err != nil {
		t.Fatal(err)
	}
	minute := time.Now().Add(-time.Hour).Truncate(time.Minute)
	until := minute.Add(30 * time.Second)
	w.happened("pump-1", minute.Add(10*time.Second), 20)
	w.happened("pump-2", minute.Add(10*time.Second), 5)
	groups, err := group.Open(ctx, w.stores.Control)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := groups.Put(ctx, group.Group{Fleet: "acme", Name: "g", Devices: []string{"pump-1", "pump-2"}}); err != nil {
		t.Fatal(err)
	}
	if err := auditlog.Record(ctx, w.stores.Control, auditlog.Local("test", map[string]any{"device": "pump-1", "why": "of 100% pump_1"}, nil)); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"raw_rows": 20, "dead_letters": 1, "rollup_windows_1m": 1, "alerts": 1, "group_memberships": 1, "audit_log_entries": 1}
	if got := w.counted(parts, "pump-1"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("before: %v, expected %v", got, want)
	}
	neighbour := w.counted(parts, "pump-2")
	w.happened("pump-1", minute.Add(40*time.Second), 7) // later, within the same minute

	target := tombstone.Target{Job: uuid.NewString(), Fleet: "acme", Device: "pump-1", Until: until.UnixMicro(), Buried: until.UnixMicro()}
	for pass := range 2 {
		for _, p := range parts {
			if p.Bury != nil && pass == 0 {
				if err := p.Bury(ctx, tombstone.Of("acme", "pump-1", until)); err != nil {
					t.Fatalf("%s: %v", p.Name, err)
				}
			}
		}
		for _, p := range parts {
			if pass == 0 || p.Twice {
				if err := p.Erase(ctx, target, func() error { return nil }); err != nil {
					t.Fatalf("%s: %v", p.Name, err)
				}
			}
		}
	}
	if got := w.counted(parts, "pump-1"); fmt.Sprint(got) != "map[alerts:1 dead_letters:1 raw_rows:7]" {
		t.Fatalf("left: %v", got)
	}
	w.happened("pump-1", minute.Add(20*time.Second), 4) // was on its way: a redelivery, a replay, a redrive
	if got := w.counted(parts, "pump-1"); fmt.Sprint(got) != "map[alerts:1 dead_letters:1 raw_rows:7]" {
		t.Fatalf("it came back: %v", got)
	}
	for range 2 { // again, as after a crash
		n, err := recount(ctx, w.stores, nil, target)
		if err != nil || n != 0 && n != 7 {
			t.Fatal(n, err)
		}
	}
	w.happened("pump-1", minute.Add(50*time.Second), 3)
	var counted int
	if err := w.stores.Rollups.QueryRowContext(ctx, `SELECT count FROM rollup_1m WHERE device_id = 'pump-1' AND fleet = 'acme'`).Scan(&counted); err != nil || counted != 10 {
		t.Fatalf("%d events are counted, %v", counted, err)
	}
	deleted := map[string]int64{}
	for _, db := range []*sqldb.DB{w.stores.Control, w.stores.Rollups} {
		if err := tombstone.Counts(ctx, db, target.Job, deleted); err != nil {
			t.Fatal(err)
		}
	}
	want["alert_notices"] = 1
	if fmt.Sprint(deleted) != fmt.Sprint(want) {
		t.Fatalf("counted %v, expected %v", deleted, want)
	}
	if got := w.counted(parts, "pump-2"); fmt.Sprint(got) != fmt.Sprint(neighbour) {
		t.Fatalf("its neighbour had %v, and has %v", neighbour, got)
	}
	rows := 0
	if _, err := raw.NewReader(w.stores.Raw).Scan(ctx, raw.Query{Fleet: "acme", Devices: []string{"pump-1"}}, func(r *raw.Row) error {
		if rows++; r.ReceivedAt <= until.UnixMicro() {
			return fmt.Errorf("event %x was received before", r.ID)
		}
		return nil
	}); err != nil || rows != 10 {
		t.Fatal(rows, err)
	}
	for _, db := range []*sqldb.DB{w.stores.Control, w.stores.Rollups} {
		if err := db.Scrub(ctx, "erased", "erased_count"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryPartForgetsADeviceAndCountsIt(t *testing.T) {
	dir := t.TempDir()
	everyPart(t, newErasable(t, func(name string) string { return "sqlite://" + dir + "/" + name + ".db" },
		func(name string) string { return lake.FileURL(dir + "/" + name) }))
}

func TestEveryPartForgetsADeviceInPostgresAndS3(t *testing.T) {
	base, bucket := require.Env(t, "WEIR_TEST_POSTGRES_URL"), require.Env(t, "WEIR_TEST_S3_URL")
	schema := fmt.Sprintf("erasures_test_%d", time.Now().UnixNano())
	db, err := sqldb.Open(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA `+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db, err := sqldb.Open(context.Background(), base)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = db.Close() }()
		if _, err := db.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
			t.Error(err)
		}
	})
	sql := base + "?search_path=" + schema
	if strings.Contains(base, "?") {
		sql = base + "&search_path=" + schema
	}
	everyPart(t, newErasable(t, func(string) string { return sql }, func(name string) string {
		u, err := url.Parse(bucket)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + schema + "-" + name
		return u.String()
	}))
}

// What a part of the list does not know of, an erasure would leave: tables with a
// device's name must be known to one.
func TestEveryTableThatNamesDevicesIsErased(t *testing.T) {
	dir := t.TempDir()
	w := newErasable(t, func(name string) string { return "sqlite://" + dir + "/" + name + ".db" }, func(name string) string { return lake.FileURL(dir + "/" + name) })
	if _, err := erasureParts(t.Context(), w.stores); err != nil {
		t.Fatal(err)
	}
	known := []string{"rollup_window_1m", "rollup_window_1h", "rollup_window_1d", "rollup_mark", "alert"}
	w.happened("pump-1", time.Now(), 1)
	found := 0
	for _, db := range []*sqldb.DB{w.stores.Control, w.stores.Rollups} {
		rows, err := db.QueryContext(t.Context(), `SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name LIKE '%device%' AND m.name <> 'device_group'`)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var table string
			if err := rows.Scan(&table); err != nil {
				t.Fatal(err)
			}
			if found++; !slices.Contains(known, table) && table != "device_group" && table != "anomaly_device" {
				t.Errorf("table %s has devices, and no part of an erasure is known for it", table)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		_ = rows.Close()
	}
	if found < len(known) {
		t.Errorf("found only %d tables", found)
	}
}
