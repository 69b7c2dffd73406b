package rule

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// The memory of 20,000 visitors, of whom each has a session, and each third has viewed a product,
// which is a partial match of the funnel: objects and bytes of a visitor, and the time of a garbage
// collection, which finds all of it alive.
func BenchmarkKeys_Kept(b *testing.B) {
	rules, err := os.ReadFile("../../../configs/analytics.yaml")
	if err != nil {
		b.Fatal(err)
	}
	w := newBench(b, string(rules))
	o := w.operator()
	const visitors, batch = 20_000, 5000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := 0; n < visitors; n += batch {
		var events service.MessageBatch
		for i := n; i < n+batch; i++ {
			kind := "page_viewed"
			if i%3 == 0 {
				kind = "product_viewed"
			}
			events = append(events, message(0, int64(i), fmt.Sprintf(`{"event_id":"00000000-0000-4000-8000-%012x",`+
				`"device_id":"press-%05d","device_firmware_version":"1.2.0","timestamp":%q,"metrics":{},`+
				`"metadata":{"type":%q},"user":{"id":"u-%d"},"payload":{"page":"/p/%d"}}`, i, i,
				noon().Add(time.Duration(i)*time.Millisecond).Format("2006-01-02T15:04:05.000000Z"), kind, i, i%97)))
		}
		w.apply(o, events...)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/visitors, "objects/visitor")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/visitors, "bytes/visitor")
	runtime.KeepAlive(o)
}
