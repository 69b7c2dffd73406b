package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/auditlog"
	"weir/internal/control/group"
	"weir/internal/event"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/plugins/operate/replay"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/tests/integration/require"
	"weir/tests/integration/testbed"
)

// filled are the places of a weir, which the rooms' own outputs fill.
type filled struct {
	*testing.T
	env    *service.Environment
	urls   map[lifecycle.Place]string
	old    string // where old minutes move
	places *lifecycle.Places
	offset int
}

// process opens the stores of the list, as another process does.
func (w *filled) process() map[string]lifecycle.Store {
	w.Helper()
	at := lifecycle.NewPlaces(service.MockResources(), w.urls)
	w.Cleanup(at.Close)
	opened := map[string]lifecycle.Store{}
	for _, kind := range stores() {
		s, err := kind.Open(w.Context(), at)
		if err != nil {
			w.Fatalf("%s: %v", kind.Name, err)
		}
		opened[kind.Name] = s
	}
	return opened
}

func (w *filled) db(at lifecycle.Place) *sqldb.DB {
	w.Helper()
	db, err := w.places.SQL(w.Context(), at)
	if err != nil {
		w.Fatal(err)
	}
	return db
}

func (w *filled) lake(at lifecycle.Place) *lake.Store {
	w.Helper()
	s, release, err := lake.Shared(w.Context(), w.places.Resources(), w.urls[at])
	if err != nil {
		w.Fatal(err)
	}
	w.places.OnClose(release)
	return s
}

func newFilled(t *testing.T, urls map[lifecycle.Place]string, old string) *filled {
	t.Helper()
	w := &filled{T: t, env: service.NewEnvironment(), urls: urls, old: old,
		places: lifecycle.NewPlaces(service.MockResources(), urls)}
	if err := Register(w.env); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, url := range []string{urls[lifecycle.Raw], urls[lifecycle.DeadLetters], old} {
			s, err := lake.Open(context.Background(), url)
			if err != nil {
				t.Error(err)
				continue
			}
			_ = s.List(context.Background(), "", func(b lake.Blob) error { return s.Remove(context.Background(), b.Key) })
			_ = s.Close()
		}
		w.places.Close()
	})
	w.process() // the tables are there
	return w
}

// send runs a stream of one output on some messages, and ends it.
func (w *filled) send(output string, batch service.MessageBatch) {
	w.Helper()
	w.running(output, func(push service.MessageBatchHandlerFunc) {
		ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
		defer cancel()
		if err := push(ctx, batch); err != nil {
			w.Fatal(err)
		}
	})
}

// running runs a stream of one output while do runs.
func (w *filled) running(output string, do func(push service.MessageBatchHandlerFunc)) {
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
	stop := testbed.Run(w, b)
	do(push)
	stop()
}

// happened puts events of a device where the streams would.
func (w *filled) happened(fleet, device string, received time.Time, n int) {
	w.Helper()
	var events, letters service.MessageBatch
	for range n {
		events = append(events, w.event(fleet, device, received))
	}
	letter := events[0].Copy()
	event.MarkRejected(letter, event.Reject(event.CodeInvalidEvent, "", "x"))
	letters = append(letters, letter)
	w.send(fmt.Sprintf("raw_store:\n  url: %q\n", w.urls[lifecycle.Raw]), copies(events))
	w.enriched(fleet, device, received, n)
	w.send(fmt.Sprintf("dead_letter_store:\n  url: %q\nprocessors:\n  - dead_letter:\n      stage: rollup\n",
		w.urls[lifecycle.DeadLetters]), letters)
	w.send(w.rolling("", never, n), copies(events))
	alert, err := json.Marshal(map[string]any{"alert_id": uuid.NewString(), "kind": "metric", "rule": "hot",
		"severity": "warning", "fleet": fleet, "device_id": device,
		"metric": "cpu_temp", "summary": "hot " + device, "at": received.UTC().Format(event.TimeFormat),
		"received_at": received.UTC().Format(event.TimeFormat)})
	if err != nil {
		w.Fatal(err)
	}
	w.send(fmt.Sprintf("alert_store:\n  url: %q\n", w.urls[lifecycle.Control]),
		service.MessageBatch{service.NewMessage(alert)})
}

// enriched keeps what was found out later about events of a device.
func (w *filled) enriched(fleet, device string, received time.Time, n int) {
	w.Helper()
	var rows []raw.Later
	for range n {
		rows = append(rows, raw.Later{ID: uuid.New(), Fleet: fleet, Device: device, At: received.UnixMicro(),
			ReceivedAt: received.UnixMicro(), Lookup: "profile", Facts: []byte(`{"of":"` + device + `"}`)})
	}
	if _, err := raw.NewLaterWriter(w.lake(lifecycle.Raw)).Write(w.Context(), rows); err != nil {
		w.Fatal(err)
	}
}

// event is one of a device, as ingest passes it on.
func (w *filled) event(fleet, device string, at time.Time) *service.Message {
	w.offset++
	at = at.UTC()
	msg := service.NewMessage(fmt.Appendf(nil, `{"event_id":%q,"device_id":%q,"device_firmware_version":"2.0.0","timestamp":%q,"metrics":{"cpu_temp":50}}`,
		uuid.NewString(), device, at.Format(time.RFC3339Nano)))
	for name, v := range map[string]any{event.HeaderFleet: fleet, event.HeaderReceivedAt: at.Format(event.TimeFormat),
		"kafka_topic": "raw-events", "kafka_partition": 0, "kafka_offset": w.offset} {
		msg.MetaSetMut(name, v)
	}
	return msg
}

// rolling is the output of rollups, which makes hours of the time before settle,
// and, with a URL, moves old minutes there.
func (w *filled) rolling(old, settle string, n int) string {
	return fmt.Sprintf("rollup_store:\n  url: %q\n  old_url: %q\n  hot: 24h\n  move_every: 50ms\n  settle: %s\n  "+
		"refresh: 100000h\n  batching:\n    count: %d\n    period: 100ms\n    processors:\n      - rollup: {}\n",
		w.urls[lifecycle.Rollups], old, settle, n)
}

// never makes no hours: how many there are would depend on how long a stream runs.
const never = "100000h"

// aged puts minutes of three days ago, n of each device, where old minutes are,
// and a late event of the first of them beside them.
func (w *filled) aged(n int, devices ...[2]string) {
	w.Helper()
	then := time.Now().AddDate(0, 0, -3).Truncate(24 * time.Hour).Add(12 * time.Hour)
	var events, late service.MessageBatch
	for _, d := range devices {
		for i := range n {
			events = append(events, w.event(d[0], d[1], then.Add(time.Duration(i)*time.Minute)))
		}
		late = append(late, w.event(d[0], d[1], then))
	}
	w.send(w.rolling("", never, len(events)), events)
	_, err := w.process()["rollups"].Expire(w.Context(), lifecycle.Upkeep{ // their ledgers go
		Pass: expire.Pass{Now: time.Now().Add(2 * time.Hour)}, Keep: []time.Duration{1e4 * time.Hour, time.Hour}})
	must(w.T, err)
	w.running(w.rolling(w.old, "1ns", 1), func(service.MessageBatchHandlerFunc) {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			var rows, objects int
			must(w.T, w.db(lifecycle.Rollups).QueryRowContext(w.Context(),
				`SELECT (SELECT count(*) FROM rollup_window_1m), (SELECT count(*) FROM rollup_cold)`).Scan(&rows, &objects))
			if rows == 0 && objects > 0 {
				return
			}
			if time.Now().After(deadline) {
				w.Fatalf("%d rows, %d objects: nothing moved", rows, objects)
			}
		}
	})
	w.send(w.rolling("", never, len(late)), late)
}

// oldObjects fails unless what lies where old minutes are is what the database
// says, and returns how many objects that is.
func (w *filled) oldObjects() int {
	w.Helper()
	place, err := lake.Open(w.Context(), w.old)
	must(w.T, err)
	defer func() { _ = place.Close() }()
	there, published := 0, 0
	must(w.T, place.List(w.Context(), "", func(lake.Blob) error { there++; return nil }))
	must(w.T, w.db(lifecycle.Rollups).QueryRowContext(w.Context(), `SELECT count(*) FROM rollup_cold`).Scan(&published))
	if there != published {
		w.Errorf("%d objects of old minutes lie there, %d are published", there, published)
	}
	return there
}

func copies(batch service.MessageBatch) (out service.MessageBatch) {
	for _, msg := range batch {
		out = append(out, msg.Copy())
	}
	return out
}

// spoken puts what people and detectors say of a device where it would be.
func (w *filled) spoken(fleet, device string, at time.Time) {
	w.Helper()
	ctx, control := w.Context(), w.db(lifecycle.Control)
	groups, err := group.Open(ctx, control)
	must(w.T, err)
	_, err = groups.Put(ctx, group.Group{Fleet: fleet, Name: "g-" + device, Devices: []string{device, "another"}})
	must(w.T, err)
	must(w.T, auditlog.Record(ctx, control, auditlog.Act{ID: uuid.NewString(), At: at, Fleet: fleet, Method: "CLI",
		Path:   "test",
		Detail: map[string]any{"device": device, "why": "of 100% pump_1"}}))
	jobs, err := replay.OpenStore(ctx, control)
	must(w.T, err)
	_, err = jobs.Create(ctx, replay.Spec{Mode: replay.Redrive, Fleet: fleet, Devices: []string{device, "another"},
		Reason: "why"}, "k", "")
	must(w.T, err)
	_, err = control.ExecContext(ctx, `INSERT INTO anomaly_device (fleet, device_id, firmware, learning_from) VALUES ($1, $2, '2.0.0', $3)`,
		fleet, device, at.UnixMicro())
	must(w.T, err)
	for _, row := range []string{`identity_claim (anonymous_id, at, version, source, recorded_by, recorded_at, fleet, user_id) VALUES ('a', 1, 1, '', '', 1,`,
		`identity_device (subject, recorded_at, fleet, device_id) VALUES ('a', 1,`,
		`subject_block (id, kind, until, reason, rule, revision, placed_by, placed_at, lifted_by, lifted_at, fleet, subject) VALUES ($2, 'device', 1, '', '', 0, '', 1, '', 0,`,
		`consent (purpose, at, granted, source, recorded_by, recorded_at, fleet, subject) VALUES ('ads', 1, 1, '', '', 1,`,
		`rule_state (topic, part, epoch, key, state, fleet, device_id) VALUES ('raw-events', 0, 'e', '["' || $2 || '"]', 'x',`,
		`rule_result (id, revision, rule, window_end, recorded_at, result, fleet, device_id) VALUES ($1 || $2, 0, 'r', 0, 1, '{}',`} {
		_, err = control.ExecContext(ctx, `INSERT INTO `+row+` $1, $2)`, fleet, device)
		must(w.T, err)
	}
	outcomes, err := deadletter.OpenOutcomes(ctx, control, event.LogTelemetry)
	must(w.T, err)
	must(w.T, deadletter.Scan(ctx, w.lake(lifecycle.DeadLetters), deadletter.Query{Fleet: fleet},
		func(r *deadletter.Row) error {
			if r.Device != device {
				return nil
			}
			return outcomes.Record(ctx, []deadletter.Outcome{{ID: r.IDText(), Job: "j", Published: true, At: at}})
		}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counted adds up what there is of a device, or of a fleet, in all stores.
func (w *filled) counted(fleet, device string) map[string]int64 {
	w.Helper()
	all := map[string]int64{}
	for name, s := range w.process() {
		n, err := s.Count(w.Context(), fleet, tombstone.Who{Device: device})
		if err != nil {
			w.Fatalf("%s: %v", name, err)
		}
		maps.DeleteFunc(n, func(_ string, n int64) bool { return n == 0 })
		maps.Copy(all, n)
	}
	return all
}

// erased adds up what an erasure has noted.
func (w *filled) erased(job string) map[string]int64 {
	w.Helper()
	all := map[string]int64{}
	for _, at := range []lifecycle.Place{lifecycle.Rollups, lifecycle.Control} {
		must(w.T, tombstone.Counts(w.Context(), w.db(at), job, all))
	}
	return all
}

// everywhere runs a test on files with SQLite, and on S3 with PostgreSQL.
func everywhere(t *testing.T, test func(*filled)) {
	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		test(newFilled(t, map[lifecycle.Place]string{
			lifecycle.Raw: lake.FileURL(dir + "/raw"), lifecycle.DeadLetters: lake.FileURL(dir + "/dead"),
			lifecycle.Rollups: "sqlite://" + dir + "/rollups.db", lifecycle.Control: "sqlite://" + dir + "/control.db",
		}, lake.FileURL(dir+"/old")))
	})
	t.Run("postgres", func(t *testing.T) {
		base, bucket := require.Env(t, "WEIR_TEST_POSTGRES_URL"), require.Env(t, "WEIR_TEST_S3_URL")
		schema := fmt.Sprintf("stores_test_%d", time.Now().UnixNano())
		db, err := sqldb.Open(t.Context(), base)
		must(t, err)
		_, err = db.ExecContext(t.Context(), `CREATE SCHEMA `+schema)
		must(t, err)
		t.Cleanup(func() {
			if _, err := db.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
				t.Error(err)
			}
			_ = db.Close()
		})
		sql := base + "?search_path=" + schema
		if strings.Contains(base, "?") {
			sql = base + "&search_path=" + schema
		}
		objects := func(name string) string {
			u, err := url.Parse(bucket)
			must(t, err)
			u.Path = "/" + schema + "-" + name
			return u.String()
		}
		test(newFilled(t, map[lifecycle.Place]string{lifecycle.Raw: objects("raw"), lifecycle.DeadLetters: objects("dead"),
			lifecycle.Rollups: sql, lifecycle.Control: sql}, objects("old")))
	})
}

// naming finds the tables that have a text anywhere in a row.
func (w *filled) naming(db *sqldb.DB, text string) (found []string) {
	w.Helper()
	list := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if db.Dialect == sqldb.Postgres {
		list = `SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'`
	}
	var tables []string
	rows, err := db.QueryContext(w.Context(), list)
	must(w.T, err)
	for rows.Next() {
		var table string
		must(w.T, rows.Scan(&table))
		tables = append(tables, table)
	}
	must(w.T, errors.Join(rows.Err(), rows.Close()))
	for _, table := range tables {
		rows, err := db.QueryContext(w.Context(), `SELECT * FROM `+table)
		must(w.T, err)
		columns, err := rows.Columns()
		must(w.T, err)
		named := false
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			must(w.T, rows.Scan(values...))
			for _, v := range values {
				switch v := (*v.(*any)).(type) {
				case string:
					named = named || strings.Contains(v, text)
				case []byte:
					named = named || strings.Contains(string(v), text)
				}
			}
		}
		must(w.T, errors.Join(rows.Err(), rows.Close()))
		if named {
			found = append(found, table)
		}
	}
	return found
}
