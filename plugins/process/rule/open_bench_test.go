package rule

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/sqldb"
	"weir/tests/bench/backlog"
)

// The cost of one query for open windows as /v1/analytics/events makes it, and of one as
// /v1/analytics/sessions makes it, with 100,000 events of 20,000 visitors in the journal of one
// partition: answered from the memory of the process that counts them, and from the store, as for
// another process.
func BenchmarkOpen_Asked(b *testing.B) {
	rules, err := os.ReadFile("../../../configs/analytics.yaml")
	if err != nil {
		b.Fatal(err)
	}
	w := newBench(b, string(rules))
	o := w.operator()
	const batch = 5000
	for n := 0; n < 100_000; n += batch {
		var events service.MessageBatch
		for i := n; i < n+batch; i++ {
			events = append(events, message(0, int64(i), fmt.Sprintf(`{"event_id":"00000000-0000-4000-8000-%012x",`+
				`"device_id":"press-%05d","device_firmware_version":"1.2.0","timestamp":%q,"metrics":{},`+
				`"metadata":{"type":"page_viewed"},"user":{"id":"u-%d"},"payload":{"page":"/p/%d"}}`, i, i%20_000,
				noon().Add(time.Duration(i)*200*time.Microsecond).Format("2006-01-02T15:04:05.000000Z"), i%20_000, i%97)))
		}
		w.apply(o, events...)
	}
	store, err := sqldb.Open(b.Context(), w.url)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	asking := func(b *testing.B, ask func()) {
		before := backlog.Used(b)
		for b.Loop() {
			ask()
		}
		b.ReportMetric(float64(backlog.Used(b)-before)/1e3/float64(b.N), "cpu-µs/op")
	}
	for _, from := range []struct {
		name string
		*Openings
	}{{"memory", NewOpenings(o.db)}, {"store", NewOpenings(store)}} {
		b.Run("events/"+from.name, func(b *testing.B) {
			asking(b, func() {
				if all, err := from.Of(b.Context(), "plant-1", "events_1m"); err != nil || len(all) == 0 {
					b.Fatal(len(all), err)
				}
			})
		})
		b.Run("sessions/"+from.name, func(b *testing.B) {
			asking(b, func() {
				all, err := from.Ends(b.Context(), "plant-1", "sessions", noon(), noon().AddDate(0, 0, 2))
				if err != nil || all.Len() != 20_000 {
					b.Fatal(all.Len(), err)
				}
			})
		})
	}
}
