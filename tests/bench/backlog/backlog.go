// Package backlog generates the events of the benchmarks that measure the cost of storing: 20,000 devices that report
// twice a second, in batches as the engine's Kafka input reads them, stored 50,000 at a time as the shipped streams
// do.
package backlog

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

const (
	Read    = 5_000  // records in a batch that is read
	Flush   = 50_000 // records in a batch that is stored
	devices = 20_000
	rate    = 40_000 // events a second, by their timestamps
)

// Messages returns the nth flush of the log in batches of Read. Each request of 100 events has one time of receipt.
func Messages(n int) (batches []service.MessageBatch) {
	start := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	for from := n * Flush; from < (n+1)*Flush; from += Read {
		batch := make(service.MessageBatch, Read)
		for i := range batch {
			batch[i] = message(from+i, start.Add(time.Duration(from+i)*time.Second/rate))
		}
		batches = append(batches, batch)
	}
	return batches
}

func message(n int, at time.Time) *service.Message {
	device := fmt.Sprintf("sim-%06d", n*7919%devices)
	msg := service.NewMessage(fmt.Appendf(nil, `{"event_id":%q,"device_id":%q,"device_firmware_version":"1.4.2","timestamp":%q,`+
		`"metrics":{"cpu_temp":%.2f,"battery_voltage":%.3f,"vibration":0.%03d,"pressure":%.1f,"humidity":%.1f},"diagnostics":{"uptime_s":%d,"rssi":-%d}}`,
		uuid.NewString(), device, at.Format(time.RFC3339Nano), 40+float64(n*31%2000)/100, 3.3+float64(n*17%900)/1000,
		n*13%1000,
		980+float64(n*7%500)/10, 30+float64(n*3%600)/10, n%100_000, 40+n%50))
	for key, v := range map[string]any{
		"kafka_key": []byte(device), "kafka_topic": "raw-events", "kafka_partition": 0, "kafka_offset": n,
		"kafka_lag":            int64(0),
		"kafka_timestamp_unix": at.Unix(), "kafka_timestamp_ms": at.UnixMilli(), "kafka_tombstone_message": false,
		event.HeaderFleet: "plant-7", event.HeaderReceivedAt: at.Truncate(100 * time.Second / rate).Format(event.TimeFormat),
		event.HeaderSchema: "telemetry/1",
	} {
		msg.MetaSetMut(key, v)
	}
	return msg
}

// Bench calls store with one flush per operation, and end once after the last, and reports the CPU time of the whole
// process per event: all cores, garbage collection and disk I/O included, generating the messages excluded.
func Bench(b *testing.B, store func(read []service.MessageBatch), end func()) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var spent time.Duration
	for n := range b.N {
		b.StopTimer()
		read := Messages(n)
		before := Used(b)
		b.StartTimer()
		store(read)
		spent += Used(b) - before
	}
	before := Used(b)
	end()
	spent += Used(b) - before
	b.ReportMetric(Flush, "events/op")
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/Flush/1000, "µs/event")
}

// Used returns the CPU time that the process has used so far. Unlike wall time, it is right on a busy machine too.
func Used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
