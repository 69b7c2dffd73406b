package trace

import (
	"errors"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// An event as devices send it.
const sent = `{"event_id":"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f","device_id":"pump-1","device_firmware_version":"2.1.0",` +
	`"timestamp":"2026-11-21T09:15:00Z","metrics":{"cpu_temp":61.5,"battery_voltage":3.7,"vibration":0.2,"pressure":101.3}}`

// used is the CPU of this process.
func used(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// traced is what a thousand events cost beside their work, from the request to a
// store: of a provider that is nil, the work of the loop alone.
func traced(p *Provider) {
	batch := make(service.MessageBatch, 0, 1000)
	for range 100 {
		span, parent := p.Begin("POST", "", "0af7651916cd43dd8448eb211c80319c")
		for range 10 {
			msg := service.NewMessage(nil)
			if parent != "" {
				msg.MetaSetMut(Header, parent)
			}
			batch = append(batch, msg)
		}
		span.End(202, 10, 0)
	}
	p.Write("log", batch).End(nil)
	received := p.Receive("group", batch)
	for range 3 {
		p.Batch("stage", batch).End(nil)
	}
	received.End(nil)
}

// worked is the least of the work for a thousand events: the gate reads each, and
// so do the streams of the two stores and of detection, which make messages of the
// log's records first. All that is validated, claimed, encoded, written and
// answered comes on top, and makes it ten times as much.
func worked(t *testing.T) {
	headers := []string{event.HeaderFleet, event.HeaderReceivedAt, event.HeaderSchema, event.HeaderFlags, "kafka_topic",
		"kafka_partition", "kafka_offset"}
	for i := range 4 * 1000 {
		var e event.Event
		if err := event.Parse([]byte(sent), &e); err != nil {
			t.Fatal(err)
		}
		if i%4 > 0 {
			msg := service.NewMessage([]byte(sent))
			for _, name := range headers {
				msg.MetaSetMut(name, sent[:20])
			}
		}
	}
}

// Tracing at one percent costs less than two hundredths of the CPU of even a part of
// an event's work. What is compared is the CPU of this process, in turns, and of
// each the least: what else the machine does makes both the same.
func TestTrace_OnePercentCostsLittle(t *testing.T) {
	p := provider(t, 0.01, &kept{refuse: errors.New("no")})
	least := func(work func()) func() time.Duration {
		best := time.Duration(math.MaxInt64)
		return func() time.Duration {
			began := used(t)
			for range 3 {
				work()
			}
			best = min(best, used(t)-began)
			return best
		}
	}
	off, on, work := least(func() { traced(nil) }), least(func() { traced(p) }), least(func() { worked(t) })
	var without, with, all time.Duration
	for range 15 {
		without, with, all = off(), on(), work()
	}
	if share := float64(with-without) / float64(all); share > 0.02 {
		t.Errorf("tracing takes %.1f %% of the least that 3,000 events take: %s of %s", 100*share, with-without, all)
	} else {
		t.Logf("tracing takes %.2f %% of the least that 3,000 events take: %s of %s", 100*share, with-without, all)
	}
}
