package raw

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/lake"
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
	o := connected(b, "file://"+b.TempDir(), "")
	batch := benchBatch(n)
	b.ReportAllocs()
	for b.Loop() {
		o.memory = lake.NewMemory(o.store, 0) // all is new again
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
}
