package anomaly

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

const shippedLike = `rules:
  - {name: hot, detector: threshold, metrics: [cpu_temp], max: 90, hysteresis: 5, for: 30s}
  - {name: low, detector: threshold, metrics: [battery_voltage], min: 3.2}
  - {name: jump, detector: zscore, metrics: ["*"]}
  - {name: unlike, detector: baseline, metrics: ["*"]}`

func fleetBatch(devices, round, offset int) service.MessageBatch {
	at := noon.Add(time.Duration(round) * 10 * time.Second)
	received := at.Format(event.TimeFormat)
	batch := make(service.MessageBatch, devices)
	for i := range batch {
		v := float64((i*7 + round*13) % 10)
		m := service.NewMessage(fmt.Appendf(nil, `{"event_id":"00000000-0000-4000-8000-%012x","device_id":"device-%05d","device_firmware_version":"2.4.1","timestamp":%q,"metrics":{"cpu_temp":%g,"battery_voltage":%g,"vibration":%g,"pressure":%g,"humidity":%g}}`,
			offset+i, i, at.Format(time.RFC3339Nano), 60+v, 3.6+v/100, 0.04+v/1000, 101+v/10, 45+v))
		m.MetaSetMut(event.HeaderFleet, "acme")
		m.MetaSetMut(event.HeaderReceivedAt, received)
		m.MetaSetMut("kafka_topic", "raw-events")
		m.MetaSetMut("kafka_partition", 0)
		m.MetaSetMut("kafka_offset", offset+i)
		batch[i] = m
	}
	return batch
}

// BenchmarkAnomaly judges events of five metrics by four rules.
func BenchmarkAnomaly(b *testing.B) {
	const devices = 500
	r := newRigOn(b, noStore, shippedLike, "")
	var rounds []service.MessageBatch
	for i := range 60 {
		rounds = append(rounds, fleetBatch(devices, i, i*devices))
	}
	for _, batch := range rounds[:30] {
		r.mark(batch...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		batch := rounds[30+i%30]
		if i%30 == 0 && i > 0 { // the log goes on: the same bytes at new offsets
			b.StopTimer()
			r.p.partitions.list = map[partitionKey]*partition{}
			b.StartTimer()
		}
		if _, err := r.p.ProcessBatch(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*devices*5), "ns/sample")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*devices), "ns/event")
}

// 250,000 series, of devices with five metrics, fit in 100 MB.
func TestAnomaly_MemoryOfAQuarterMillionSeries(t *testing.T) {
	r := newRigOn(t, noStore, shippedLike, "")
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const devices = 50_000
	for round := range 2 {
		r.mark(fleetBatch(devices, round, round*devices)...)
	}
	r.p.notes.mu.Lock()
	r.p.notes.list = map[deviceKey]learn{} // they are stored, in time
	r.p.notes.mu.Unlock()
	used := heap() - before
	n := r.p.state.series.Load()
	t.Logf("%d series in %.1f MB: %d bytes each", n, float64(used)/1e6, used/uint64(n))
	if n != 5*devices || used > 105e6 {
		t.Errorf("%d series take %d bytes", n, used)
	}
	runtime.KeepAlive(r)
}

func TestAnomaly_SeriesBeyondTheLimitPushOutTheIdlest(t *testing.T) {
	r := newRigOn(t, noStore, shippedLike, "max_series: 5000")
	r.mark(fleetBatch(3000, 0, 0)...)
	if n := r.p.state.series.Load(); n > 5000+5 || n < 4000 {
		t.Errorf("%d series are kept", n)
	}
	if n := r.p.state.evict(time.Now().Unix() + 1); n < 800 || r.p.state.series.Load() != 0 {
		t.Errorf("%d idle devices went, %d series are left", n, r.p.state.series.Load())
	}
}
