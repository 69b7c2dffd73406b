package rollup

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/tests/bench/backlog"
	"weir/tests/integration/require"
)

// benchBatch returns a batch with one event of each device, as if each reported every ten seconds.
func benchBatch(devices, tick int) service.MessageBatch {
	at := noon.Add(time.Duration(tick) * 10 * time.Second)
	batch := make(service.MessageBatch, devices)
	for d := range batch {
		batch[d] = service.NewMessage([]byte(testEvent(tick*devices+d, fmt.Sprintf("device-%05d", d), at,
			fmt.Sprintf(`{"cpu_temp":%d.25,"battery_voltage":3.7%d,"vibration":0.1%d}`, 40+(d+tick)%20, tick%10, d%10))))
		batch[d].MetaSetMut(event.HeaderFleet, "acme")
		batch[d].MetaSetMut(event.HeaderReceivedAt, at.Format(event.TimeFormat))
		batch[d].MetaSetMut(event.HeaderSchema, "telemetry/1")
	}
	return batch
}

func benchProcessor(b testing.TB) *processor {
	p, err := newProcessor(nil, service.MockResources())
	if err != nil {
		b.Fatal(err)
	}
	return p.(*processor)
}

func BenchmarkProcessor(b *testing.B) {
	const devices = 5000
	p := benchProcessor(b)
	batches := make([]service.MessageBatch, 6)
	for i := range batches {
		batches[i] = benchBatch(devices, i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += devices {
		if out, err := p.ProcessBatch(context.Background(), batches[n/devices%6]); err != nil || len(out[0]) != devices {
			b.Fatal(err)
		}
	}
}

// nowhere is a backend that stores nothing, to measure the rest: merging and encoding.
type nowhere struct {
	backend
	w copyWriter
}

func (n *nowhere) update(_ context.Context, fn func(tx) error) error { return fn(&nowhereTx{w: &n.w}) }

type nowhereTx struct {
	tx
	w *copyWriter
}

func (*nowhereTx) erasures(context.Context) (int64, error)           { return 0, nil }
func (*nowhereTx) journal() journal                                  { return nowhereJournal{} }
func (*nowhereTx) load(context.Context, []Key) ([]*windowRow, error) { return nil, nil }
func (*nowhereTx) lockHours(context.Context, []int64, time.Time) (map[int64]bool, error) {
	return nil, nil
}
func (t *nowhereTx) write(_ context.Context, rows []*windowRow, now time.Time) error {
	t.w.begin()
	for _, r := range rows {
		t.w.minute(r, now)
	}
	t.w.end()
	return nil
}

// nowhereJournal is empty, and its term is the one that a new memory has.
type nowhereJournal struct{ journal }

func (nowhereJournal) term(context.Context) (int64, bool, error) { return 0, true, nil }
func (nowhereJournal) clear(context.Context, int64) error        { return nil }

// nowhereStore writes the rows of each batch with it.
func nowhereStore() *Store {
	limits := DefaultLimits()
	limits.WriteEvery = 0
	return &Store{backend: &nowhere{}, limits: limits, memory: newMemory()}
}

func benchStore(b *testing.B, s *Store) {
	const devices = 5000
	p := benchProcessor(b)
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	for n, tick := 0, 0; n < b.N; n, tick = n+devices, tick+1 {
		out, err := p.ProcessBatch(context.Background(), benchBatch(devices, tick))
		if err != nil {
			b.Fatal(err)
		}
		windows := make([]*Window, 0, devices)
		for _, msg := range out[0] {
			w, err := windowOf(msg)
			if err != nil {
				b.Fatal(err)
			}
			windows = append(windows, w)
		}
		b.StartTimer()
		res, err := s.Add(context.Background(), windows, noon)
		b.StopTimer()
		if err != nil || res.Events[outcomeCounted] != devices {
			b.Fatal(res, err)
		}
	}
}

func BenchmarkMerge(b *testing.B) {
	benchStore(b, nowhereStore())
}

func BenchmarkStoreSQLite(b *testing.B) {
	benchStore(b, openStore(b, "sqlite://"+b.TempDir()+"/r.db"))
}

// BenchmarkStoreSQLiteRows writes the rows with each batch, without a journal.
func BenchmarkStoreSQLiteRows(b *testing.B) {
	s := openStore(b, "sqlite://"+b.TempDir()+"/r.db")
	s.limits.WriteEvery = 0
	benchStore(b, s)
}

// BenchmarkBacklog measures rolling up a backlog: windows, ledgers and rows.
func BenchmarkBacklog(b *testing.B) {
	p, s := benchProcessor(b), openStore(b, "sqlite://"+b.TempDir()+"/r.db")
	backlog.Bench(b, func(read []service.MessageBatch) {
		out, err := p.ProcessBatch(context.Background(), slices.Concat(read...))
		if err != nil {
			b.Fatal(err)
		}
		windows := make([]*Window, len(out[0]))
		for i, msg := range out[0] {
			if windows[i], err = windowOf(msg); err != nil {
				b.Fatal(err)
			}
		}
		if res, err := s.Add(context.Background(), windows, noon); err != nil || res.Events[outcomeCounted] != backlog.Flush {
			b.Fatal(res, err)
		}
	}, func() { // write the remaining rows
		if err := s.WriteOut(context.Background()); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkStorePostgres(b *testing.B) { benchPostgres(b, DefaultLimits().WriteEvery) }

// BenchmarkStorePostgresRows writes the rows with each batch, without a journal.
func BenchmarkStorePostgresRows(b *testing.B) { benchPostgres(b, 0) }

func benchPostgres(b *testing.B, writeEvery time.Duration) {
	s := openStore(b, onPostgres(b))
	s.limits.WriteEvery = writeEvery
	t := &timed{backend: s.backend}
	s.backend = t
	benchStore(b, s)
	b.StartTimer()
	if err := s.leave(context.Background()); err != nil { // write the remaining rows
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(t.waited.Nanoseconds())/float64(b.N), "postgres-ns/op")
}

// timed is a backend that measures the time spent in the database.
type timed struct {
	backend
	waited time.Duration
}

type timedTx struct {
	tx
	own time.Duration // spent outside of calls
	at  time.Time
}

func (d *timed) update(ctx context.Context, fn func(tx) error) error {
	start, t := time.Now(), timedTx{}
	err := d.backend.update(ctx, func(inner tx) error {
		t.tx, t.at = inner, time.Now()
		defer t.enter()
		return fn(&t)
	})
	d.waited += time.Since(start) - t.own
	return err
}

func (t *timedTx) enter() { t.own += time.Since(t.at) }
func (t *timedTx) leave() { t.at = time.Now() }

func (t *timedTx) load(ctx context.Context, keys []Key) ([]*windowRow, error) {
	t.enter()
	defer t.leave()
	return t.tx.load(ctx, keys)
}

func (t *timedTx) lockHours(ctx context.Context, hours []int64, now time.Time) (map[int64]bool, error) {
	t.enter()
	defer t.leave()
	return t.tx.lockHours(ctx, hours, now)
}

func (t *timedTx) write(ctx context.Context, rows []*windowRow, now time.Time) error {
	t.enter()
	defer t.leave()
	return t.tx.write(ctx, rows, now)
}

// BenchmarkRawRowsPostgres measures the alternative to rollups: a row for each reading, copied in
// batches, unique by event, and aggregated by minute afterwards.
func BenchmarkRawRowsPostgres(b *testing.B) {
	const devices = 5000
	ctx := context.Background()
	s := openStore(b, freshSchema(b, require.Env(b, "WEIR_TEST_POSTGRES_URL")))
	p := s.backend.(*postgres)
	exec := func(sql string) {
		if _, err := p.db.ExecContext(ctx, sql); err != nil {
			b.Fatal(err)
		}
	}
	exec(`CREATE TABLE reading (fleet text, device_id text, metric text, at timestamptz, event_id bigint, value float8,
		PRIMARY KEY (fleet, device_id, metric, at, event_id))`)
	b.ResetTimer()
	b.StopTimer()
	for n, tick := 0, 0; n < b.N; n, tick = n+devices, tick+1 {
		out, err := benchProcessor(b).ProcessBatch(ctx, benchBatch(devices, tick))
		if err != nil {
			b.Fatal(err)
		}
		var w copyWriter
		w.begin()
		for _, msg := range out[0] {
			win, err := windowOf(msg)
			if err != nil {
				b.Fatal(err)
			}
			for _, e := range win.events {
				for _, r := range e.readings {
					w.row(6)
					w.text(win.Fleet)
					w.text(win.Device)
					w.text(r.metric)
					w.int8(e.at - postgresEpoch)
					w.int8(int64(e.id))
					w.int8(int64(math.Float64bits(r.value)))
				}
			}
		}
		w.end()
		b.StartTimer()
		if err := p.begin(ctx, pgx.TxOptions{}, func(t pgx.Tx) error {
			if err := (&postgresTx{p: p, Tx: t}).copyInto(ctx, `CREATE TEMP TABLE IF NOT EXISTS reading_stage (LIKE reading) ON COMMIT DELETE ROWS`, `reading_stage`, &w); err != nil {
				return err
			}
			_, err := t.Exec(ctx, `INSERT INTO reading SELECT * FROM reading_stage ON CONFLICT DO NOTHING`)
			return err
		}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
	}
	b.StartTimer()
	exec(`CREATE TABLE aggregate AS SELECT fleet, device_id, metric, date_trunc('minute', at) AS bucket, count(*), sum(value), min(value), max(value),
		percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS p50, percentile_cont(0.95) WITHIN GROUP (ORDER BY value) AS p95
		FROM reading GROUP BY 1, 2, 3, 4`)
}

// BenchmarkMergeBusyDevices merges batches of few devices that report often.
func BenchmarkMergeBusyDevices(b *testing.B) {
	const devices, each = 500, 60 // 30 a second, flushed every two seconds
	s := nowhereStore()
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	id := uint64(0)
	for n, flush := 0, 0; n < b.N; n, flush = n+devices*each, flush+1 {
		at := noon.Add(time.Duration(flush) * 2 * time.Second)
		windows := make([]*Window, devices)
		for d := range windows {
			w := &Window{Key: Key{"acme", fmt.Sprint("device-", d), minuteOf(at)}}
			for i := range each {
				id++
				w.events = append(w.events, sample{id: mix(id), at: at.UnixMicro(), readings: []reading{
					{"cpu_temp", 40 + float64((d+i)%200)/10}, {"battery_voltage", 3.7}, {"vibration", float64(i%13) / 10}}})
			}
			windows[d] = w
		}
		b.StartTimer()
		if _, err := s.Add(context.Background(), windows, noon); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
	}
}

// BenchmarkQueryFleet merges a minute of 10,000 devices; one op is one device.
func BenchmarkQueryFleet(b *testing.B) {
	const devices = 10_000
	s := openStore(b, "sqlite://"+b.TempDir()+"/r.db")
	out, err := benchProcessor(b).ProcessBatch(context.Background(), benchBatch(devices, 0))
	if err != nil {
		b.Fatal(err)
	}
	var windows []*Window
	for _, msg := range out[0] {
		w, err := windowOf(msg)
		if err != nil {
			b.Fatal(err)
		}
		windows = append(windows, w)
	}
	add(b, s, noon, windows)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += devices {
		lines, _, err := s.run(context.Background(), query{Fleet: "acme", From: noon.Unix(), To: noon.Unix() + 60,
			Resolution: byMinute, Merge: true, Limit: 10})
		if err != nil || len(lines) != 3 || lines[0].devices != devices {
			b.Fatal(lines, err)
		}
	}
}
