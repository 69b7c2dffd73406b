package raw

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/store/lake"
	"weir/tests/bench/backlog"
)

func benchBatch(n int) service.MessageBatch {
	now := time.Now()
	batch := make(service.MessageBatch, n)
	for i := range batch {
		at := now.Add(time.Duration(i) * 20 * time.Microsecond)
		batch[i] = record(i%8, int64(i/8), body(fmt.Sprintf("sensor-%04d", i*7919%1000), i, at), at)
	}
	return batch
}

// BenchmarkWriteBatch is all that raw_store costs, per event.
func BenchmarkWriteBatch(b *testing.B) {
	const n = 20000
	o := connected(b, lake.FileURL(b.TempDir()), "")
	batch := benchBatch(n)
	b.ReportAllocs()
	before := backlog.Used(b)
	for b.Loop() {
		o.Memory = lake.NewMemory(o.Store, 0) // all is new again
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
	b.ReportMetric(float64((backlog.Used(b)-before).Nanoseconds())/float64(b.N)/n, "cpu-ns/event")
	size := int64(0)
	if err := o.Store.List(context.Background(), "", func(blob lake.Blob) error {
		size += blob.Size
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(size)/float64(b.N+1)/n, "bytes/event")
}

// BenchmarkBacklog is what storing a backlog costs.
func BenchmarkBacklog(b *testing.B) {
	o := connected(b, lake.FileURL(b.TempDir()), "")
	backlog.Bench(b, func(read []service.MessageBatch) {
		if err := o.WriteBatch(context.Background(), slices.Concat(read...)); err != nil {
			b.Fatal(err)
		}
	}, func() {})
}

// BenchmarkScan reads an hour of a thousand devices back, whole.
func BenchmarkScan(b *testing.B) {
	o := connected(b, lake.FileURL(b.TempDir()), "")
	start := noon
	const batches, n = 10, 20000
	for k := range batches {
		batch := make(service.MessageBatch, n)
		for i := range batch {
			at := start.Add(time.Duration(k*n+i) * 17 * time.Millisecond)
			batch[i] = record(i%8, int64(k*n+i), body(fmt.Sprintf("sensor-%04d", i*7919%1000), k*n+i, at), at)
		}
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for _, test := range []struct {
		name string
		q    Query
		json bool
	}{{"all", Query{Parallel: 1}, false}, {"json", Query{}, true}, {"device", Query{Devices: []string{"sensor-0500"}},
		false}} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			events := int64(0)
			var buf []byte
			for b.Loop() {
				stats, err := NewReader(o.Store).Scan(context.Background(), test.q, func(r *Row) (err error) {
					if test.json {
						buf, err = r.AppendJSON(buf[:0])
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
				events += stats.Events
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
