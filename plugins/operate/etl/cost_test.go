package etl

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// costs reports what a row took of the processor, of all threads, and how often it
// allocated.
func costs(b *testing.B, rows int, do func()) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	spent := -processor(b)
	do()
	spent += processor(b)
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(spent.Nanoseconds())/1000/float64(rows), "cpu-µs/row")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(rows), "allocs/row")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(rows), "B/row")
}

func processor(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A table of PostgreSQL into one object of Parquet, as a run does it.
func BenchmarkPostgresToParquet(b *testing.B) {
	const rows = 300_000
	conn, fields := server(b)
	exec1(b, conn, `DROP TABLE IF EXISTS etl_cost`)
	b.Cleanup(func() { _, _ = conn.Exec(context.Background(), `DROP TABLE IF EXISTS etl_cost`) })
	exec1(b, conn, `CREATE TABLE etl_cost (id bigint PRIMARY KEY, amount numeric(18,4), customer text, at timestamptz,
		discount int, detail jsonb)`)
	exec1(b, conn, fmt.Sprintf(`INSERT INTO etl_cost SELECT i, i * 1.2345, 'customer ' || i %% 50000,
		'2026-01-01Z'::timestamptz + i * interval '1.000001 second', CASE WHEN i %% 3 = 0 THEN i %% 100 END,
		jsonb_build_object('sku', 'p' || i %% 977, 'count', i %% 9) FROM generate_series(1, %d) i`, rows))
	p, err := loaded(b, map[string]string{"p.json": `{"name": "cost", "source": {` + fields + `, "table": "etl_cost",
		"key": "id"}, "sinks": [{"format": "parquet", "url": "file://out", "object": "x.parquet"}]}`})
	if err != nil {
		b.Fatal(err)
	}
	costs(b, rows*b.N, func() {
		for range b.N {
			if r, err := p.Run(b.Context(), options(b)); err != nil || r.Counts.Written != rows {
				b.Fatal(r, err)
			}
		}
	})
}

// Records of a log into a table of Delta Lake, a version for each 50,000, as a stream
// does it.
func BenchmarkRecordsToDelta(b *testing.B) {
	const rows = 50_000
	p, err := loaded(b, map[string]string{"p.json": `{"name": "cost", "mode": "stream", "source": {"type": "kafka",
		"brokers": ["127.0.0.1:1"], "topic": "t", "metadata": {"offset": "o"}, "columns": [
		{"name": "event_id", "type": "uuid"}, {"name": "device", "type": "text"}, {"name": "at", "type": "timestamptz"}, {"name": "celsius", "type": "float64"},
		{"name": "amount", "type": "decimal(12,2)"}, {"name": "count", "type": "int64"}]},
		"sinks": [{"format": "delta", "mode": "append", "url": "file://out", "table": "events"}]}`})
	if err != nil {
		b.Fatal(err)
	}
	topic := p.source.(kafkaSource)
	planned, problems := p.plan(topic.columns)
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	sink, err := p.streamInto(b.Context(), p.sinks[0], "cost")
	if err != nil {
		b.Fatal(err)
	}
	defer sink.close()
	stream := &logStream{kafkaReading: &kafkaReading{recordReader: topic.reader(), log: "cost"}}
	st := &streamed{p: p, o: options(b), columns: planned.columns(), planned: planned, names: []string{"delta"},
		sinks: []streamSink{sink}, marks: make([]*marks, 1)}
	if st.account, err = (stage{dir: b.TempDir()}).openAccount("cost"); err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 11, 28, 9, 0, 0, 123e6, time.UTC)
	records := make([]*kgo.Record, rows)
	for i := range records {
		records[i] = &kgo.Record{Topic: "t", Timestamp: at, Value: fmt.Appendf(nil,
			`{"event_id":"0197b2f4-5d0e-7c3a-9f1e-%012x","device":"dev-%06d","at":"2026-11-28T09:00:%02d.%03dZ","celsius":%d.%d,"amount":"%d.25","count":%d}`, i, i%5000,
			i%60, i%1000, 15+i%20, i%10, i%777, i)}
	}
	costs(b, rows*b.N, func() {
		for n := range b.N {
			from := marks{"cost", map[int32]int64{0: int64(n) * rows}}
			for i, r := range records {
				r.Offset = from.Next[0] + int64(i)
			}
			stream.next = marks{"cost", map[int32]int64{0: from.Next[0] + rows}}
			if err := st.pass(b.Context(), stream.batchOf(&kafkaBatch{from: from, records: records})); err != nil {
				b.Fatal(err)
			}
		}
	})
}
