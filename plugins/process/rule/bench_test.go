package rule

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"weir/internal/event"
	"weir/tests/bench/backlog"
	"weir/tests/bench/fleetlog"
	"weir/tests/nexmark"
)

// The benchmarks measure what rules cost. Each gives an output batches of a log, as the stream does
// after reading and deduplication. State and results are in SQLite on the disk of this machine, with
// syncs. An operation is a batch. Time and CPU time are reported per event, and include garbage
// collection and the disk.

const (
	benchBatch      = 5000
	benchPartitions = 8
)

// standardRules returns the standard set, which has one rule of each kind. The performance floors
// are for this set.
func standardRules(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/standard.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// fleetLog makes the log of a fleet, divided into partitions.
type fleetLog struct {
	*fleetlog.Log
	offsets [benchPartitions]int64
}

func newFleetLog(devices int) *fleetLog { return &fleetLog{Log: fleetlog.New(devices)} }

// batch returns the next n events, of all partitions.
func (l *fleetLog) batch(n int) service.MessageBatch {
	batch := make(service.MessageBatch, n)
	for i := range batch {
		e := l.Next()
		p := e.Device % benchPartitions
		batch[i] = message(p, l.offsets[p], string(e.JSON()))
		l.offsets[p]++
	}
	return batch
}

// runBatches applies batches until the benchmark ends. Then it writes all rows, whose cost is
// included.
func runBatches(b *testing.B, w *bench, next func() service.MessageBatch) {
	o := w.operator()
	w.apply(o, next()...) // not measured: it creates the tables and plans the statements
	b.ReportAllocs()
	events, used := 0, time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		batch := next()
		before := backlog.Used(b)
		b.StartTimer()
		w.apply(o, batch...)
		b.StopTimer()
		used += backlog.Used(b) - before
		events += len(batch)
		b.StartTimer()
	}
	b.StopTimer()
	before := backlog.Used(b)
	began := time.Now()
	o.writeRows(b)
	used += backlog.Used(b) - before
	told := float64(len(w.results()))
	b.ReportMetric(float64(b.Elapsed()+time.Since(began))/1e3/float64(events), "µs/event")
	b.ReportMetric(float64(used)/1e3/float64(events), "cpu-µs/event")
	b.ReportMetric(float64(events)/float64(b.N), "events/op")
	b.ReportMetric(told/float64(events), "results/event")
}

// The standard set makes at most two allocations for an event. Unlike time, this can be tested on
// any machine.
func TestRules_TheStandardSetAllocatesLittle(t *testing.T) {
	l, w := newFleetLog(1_000), newBench(t, standardRules(t))
	o := w.operator()
	w.apply(o, l.batch(benchBatch)...)
	var batches []service.MessageBatch
	for range 4 {
		batches = append(batches, l.batch(benchBatch))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, batch := range batches {
		w.apply(o, batch...)
	}
	runtime.ReadMemStats(&after)
	if n := float64(after.Mallocs-before.Mallocs) / float64(len(batches)*benchBatch); n > 2 {
		t.Errorf("%.2f allocations an event", n)
	}
}

// The standard set with 10,000 devices.
func BenchmarkStandard(b *testing.B) {
	l := newFleetLog(10_000)
	runBatches(b, newBench(b, standardRules(b)), func() service.MessageBatch { return l.batch(benchBatch) })
}

// eachRule calls do with each rule of the standard set alone, and with a rule that has many results.
func eachRule(b *testing.B, do func(b *testing.B, rules string)) {
	often, err := os.ReadFile("testdata/often.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{standardRules(b), string(often)} {
		for _, r := range mustParse(b, text).Rules {
			b.Run(r.Name, func(b *testing.B) { do(b, only(b, text, r.Name)) })
		}
	}
}

// Each rule alone.
func BenchmarkEach(b *testing.B) {
	eachRule(b, func(b *testing.B, rules string) {
		l := newFleetLog(10_000)
		runBatches(b, newBench(b, rules), func() service.MessageBatch { return l.batch(benchBatch) })
	})
}

// Only reading the events for each rule. Other engines that are measured for comparison are given no
// JSON, and do not have this cost.
func BenchmarkRead(b *testing.B) {
	eachRule(b, func(b *testing.B, rules string) {
		l, p := newFleetLog(10_000), newPartition(mustParse(b, rules), "raw-events", 0, 0, 0)
		var e event.Event
		events, used := 0, time.Duration(0)
		for b.Loop() {
			b.StopTimer()
			batch := l.batch(benchBatch)
			before := backlog.Used(b)
			b.StartTimer()
			for _, msg := range batch {
				raw, err := msg.AsBytes()
				if err == nil {
					err = p.read(raw, &e)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			used += backlog.Used(b) - before
			events += len(batch)
			b.StartTimer()
		}
		b.ReportMetric(float64(used)/1e3/float64(events), "cpu-µs/event")
		b.ReportMetric(float64(events)/float64(b.N), "events/op")
	})
}

// One rule that counts events, alone and beside 100 rules that filter all of them out.
func BenchmarkHundred(b *testing.B) {
	const rule = "  - { name: r%d, key: [device_id], where: this.metrics.cpu_temp > %d && this.metrics.vibration > 0.2, " +
		"window: { type: tumbling, size: 1m, allowed_lateness: 0s }, select: { n: count() } }\n"
	for _, n := range []int{1, 101} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rules := "rules:\n" + fmt.Sprintf(rule, 0, 0)
			for i := 1; i < n; i++ {
				rules += fmt.Sprintf(rule, i, 1000+i)
			}
			l := newFleetLog(10_000)
			runBatches(b, newBench(b, rules), func() service.MessageBatch { return l.batch(benchBatch) })
		})
	}
}

// The queries of Nexmark over its events, of which there are 10,000 in a second of event time.
func BenchmarkNexmark(b *testing.B) {
	for _, q := range nexmark.Queries() {
		b.Run(q.Name, func(b *testing.B) {
			rules, err := q.Rules()
			if err != nil {
				b.Fatal(err)
			}
			g, n := nexmark.New(16, q.By, noon(), 100*time.Microsecond), int64(0)
			runBatches(b, newBench(b, rules), func() service.MessageBatch {
				batch := make(service.MessageBatch, benchBatch)
				for i := range batch {
					batch[i] = message(0, n, string(g.Append(nil)))
					n++
				}
				return batch
			})
		})
	}
}

// The time from when an event is given to the rules until its results are made, with those of the
// windows that it closes. There are 100,000 events in a second of event time.
func BenchmarkApplyLatency(b *testing.B) {
	l := newFleetLog(10_000)
	p := newPartition(mustParse(b, standardRules(b)), "raw-events", 0, 5_000_000, 0)
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		e := l.Next()
		raw := e.JSON()
		b.StartTimer()
		began := time.Now()
		if err := p.apply(raw, record{Fleet: "plant-1", At: e.At.UnixMicro(), Offset: int64(e.Number)}); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		p.out, p.misses = p.out[:0], p.misses[:0]
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1e3 }
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
	b.ReportMetric(at(0.999), "p99.9-µs")
	b.ReportMetric(at(1), "max-µs")
}

// The time that a process takes after a crash to read a million keys and to apply its first batch.
// They are in rows, with a journal after them that is as long as it can be.
func BenchmarkMillionKeys(b *testing.B) {
	w := newBench(b, only(b, standardRules(b), "minute"))
	l := newFleetLog(1_000_000)
	o := w.operator()
	for range 1_000_000 / benchBatch {
		w.apply(o, l.batch(benchBatch)...)
	}
	o.writeRows(b)
	o.journalMost = 1 << 40
	for o.lag() < journalMost {
		w.apply(o, l.batch(benchBatch)...)
	}
	b.ReportMetric(float64(o.lag())/(1<<20), "MiB-of-journal")
	for b.Loop() {
		b.StopTimer()
		batch := l.batch(benchBatch)
		b.StartTimer()
		next := w.operator()
		w.apply(next, batch...)
	}
}

func (o *output) lag() (n int) {
	for _, h := range o.places {
		n += h.lag
	}
	return n
}

// only returns a rule set with one of its rules.
func only(t testing.TB, text, name string) string {
	t.Helper()
	var doc map[string][]map[string]any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	doc["rules"] = slices.DeleteFunc(doc["rules"], func(r map[string]any) bool { return r["name"] != name })
	raw, err := yaml.Marshal(doc)
	if err != nil || len(doc["rules"]) != 1 {
		t.Fatal(name, err)
	}
	return string(raw)
}
