package rule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// After the erasure of a device no file of the store, its write-ahead log included, contains the name
// of the device: neither from its open windows, nor from the events that patterns and joins keep, nor
// from its results. Other devices keep their state, and the output that had it in memory goes on.
func TestErasure_LeavesNoByteOfTheDeviceInAnyFile(t *testing.T) {
	b := newBench(t, everything)
	o := b.operator()
	all := func(from int64, devices ...string) (batch []*service.Message) {
		for i := range int64(40) {
			for j, device := range devices {
				raw := strings.NewReplacer("pump-1", device, "4000", fmt.Sprintf("4%03d", from+i*2+int64(j))).
					Replace(at(time.Duration(from+i)*s, float64(i%9)))
				batch = append(batch, message(0, from+i*int64(len(devices))+int64(j), raw))
			}
		}
		return batch
	}
	b.apply(o, all(0, "gone-and-forgotten", "pump-2")...)
	before := len(b.holding("gone-and-forgotten"))
	if before == 0 || len(b.holding("pump-2")) == 0 {
		t.Fatal("the devices are not found in the files before the erasure")
	}
	db, err := sqldb.Open(t.Context(), b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	until := time.Now().Add(time.Hour)
	if err := tombstone.Bury(t.Context(), db, tombstone.Of("plant-1", "gone-and-forgotten", until)); err != nil {
		t.Fatal(err)
	}
	if err := erase(t.Context(), db, tombstone.Target{Fleet: "plant-1", Device: "gone-and-forgotten", Job: "j",
		Until: until.UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	b.apply(o, all(80, "pump-2")...) // the output that had the device in memory goes on
	if err := db.Scrub(t.Context(), "rule_state", "rule_result"); err != nil {
		t.Fatal(err)
	}
	if found := b.holding("gone-and-forgotten"); len(found) > 0 {
		t.Errorf("after the erasure the name of the device is in %q", found)
	}
	if len(b.holding("pump-2")) == 0 || len(b.results()) == 0 {
		t.Error("the state or the results of another device are gone")
	}
}

// holding returns the files of the store that contain a text, which is lower-case here, in any case.
func (b *bench) holding(text string) (files []string) {
	b.Helper()
	err := filepath.WalkDir(filepath.Dir(b.file), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(bytes.ToLower(raw), []byte(text)) {
			files = append(files, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return files
}

// A fleet that sends more keys than its limit does not change the results of another fleet, and the
// number of keys that are kept stays bounded.
func TestLimits_AFleetWithTooManyKeysIsItsOwnAlone(t *testing.T) {
	keys := 20_000
	if more, err := strconv.Atoi(os.Getenv("WEIR_TORTURE_KEYS")); err == nil {
		keys = more
	}
	const most, batch = 500, 2000
	limitedTo := strings.Replace(perMinute, " }]", fmt.Sprintf(", limits: { keys_per_fleet: %d } }]", most), 1)
	run := func(noisy int) (told []string, over, state int64) {
		b := newBench(t, limitedTo)
		o := b.operator()
		var list []*service.Message
		offset := int64(0)
		add := func(fleet, device string, at int64) {
			when := noon().Add(time.Duration(at) * time.Millisecond).Format(time.RFC3339Nano)
			raw := fmt.Appendf(nil, `{"event_id":"%08x-0000-4000-8000-000000000000","device_id":%q,`+
				`"device_firmware_version":"1.0.0","timestamp":%q,"metrics":{"v":1}}`, offset, device, when)
			if list = append(list, of(fleet, message(0, offset, string(raw)))); len(list) == batch {
				b.apply(o, list...)
				list = list[:0]
			}
			offset++
		}
		each := max(1, noisy/100)
		for i := range int64(100) {
			add("honest", fmt.Sprintf("pump-%d", i%10), i*1200)
			for n := 0; n < each && noisy > 0; n++ {
				add("noisy", fmt.Sprintf("n-%d-%d", i, n), i*1200)
			}
		}
		add("honest", "pump-0", 300_000)
		b.apply(o, list...)
		for _, raw := range b.results() {
			if r := parseTold(t, []byte(raw)); r.Fleet == "honest" {
				told = append(told, fmt.Sprint(r.Key, r.Start, r.Values))
			}
		}
		slices.Sort(told)
		accounts, err := Accounts(t.Context(), o.db)
		if err != nil || len(accounts[0].Problems()) > 0 {
			t.Fatalf("%+v %v", accounts, err)
		}
		for _, h := range o.places {
			for _, op := range h.ops {
				state = max(state, int64(len(op.keys)))
			}
		}
		return told, accounts[0].Rules[0].Counts[OverLimit], state
	}
	alone, _, _ := run(0)
	beside, over, state := run(keys)
	if len(alone) == 0 || !slices.Equal(alone, beside) {
		t.Errorf("results alone:\n%s\nbeside the other fleet:\n%s", strings.Join(alone, "\n"), strings.Join(beside, "\n"))
	}
	if over == 0 || state > most+10 {
		t.Errorf("%d events were refused, and %d keys are kept", over, state)
	}
}

// A set of a thousand rules loads in half a second of CPU time, and keeps a few MiB. The bounds are
// higher, for slow machines and the race detector.
func TestRuleSet_AThousandRulesLoadInSeconds(t *testing.T) {
	var text strings.Builder
	text.WriteString("rules:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - { name: r%d, key: [device_id], where: 'this.metrics.m%d > %d && "+
			"this.device_id.has_prefix(\"pump-\")', window: { type: tumbling, size: %ds, allowed_lateness: 0s }, "+
			"select: { n: count(), m: max(this.metrics.m%d), "+
			"p: p95(this.metrics.v) }, having: this.n > 1 }\n", i, i%50, i, 10+i, i%50)
	}
	raw := []byte(text.String())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := cpu(t)
	set, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	p := newPartition(set, "t", 0, 0, 0)
	took := cpu(t) - began
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d rules took %s of CPU and keep %d KiB", len(p.ops), took, kept>>10)
	if took > 20*time.Second || kept > 64<<20 {
		t.Errorf("it took %s of CPU, and keeps %d bytes", took, kept)
	}
	if err := p.apply([]byte(at(0, 1)), record{Fleet: "f", At: 1}); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(set)
}

// cpu returns the CPU time that this process has used.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// While their sink is down, results wait in the store, and no more than a batch of them is in
// memory. When it is back, each is handed on once, and the revisions of an id in their order.
func TestRuleResults_WaitWhileTheirSinkIsAway(t *testing.T) {
	b := newBench(t, everything)
	o := b.operator()
	parsed, err := ruleResultsSpec().ParseYAML(fmt.Sprintf("url: %q\npoll: 1ms", b.url), nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := newResults(parsed, service.MockResources())
	if err == nil {
		err = in.Connect(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(context.Background()) }()
	log := records(rand.New(rand.NewPCG(5, 5)), 60*tortured(3))
	for part := range slices.Chunk(log, 40) {
		b.apply(o, part...)
		batch, ack, err := in.ReadBatch(t.Context())
		if err == nil {
			err = ack(t.Context(), errors.New("the sink is down"))
		}
		if err != nil || len(batch) > handedMost {
			t.Fatalf("%d results in a batch, %v", len(batch), err)
		}
	}
	want, revisions := b.results(), map[string]int{}
	for n := 0; n < len(want); {
		batch, ack, err := in.ReadBatch(t.Context())
		if err == nil {
			err = ack(t.Context(), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range batch {
			id, revision := event.Meta(msg, event.HeaderResult), event.Meta(msg, event.HeaderRevision)
			if raw, err := msg.AsBytes(); err != nil || want[id+"/"+revision] != string(raw) {
				t.Errorf("%s/%s is handed on as %s, %v", id, revision, raw, err)
			}
			if fmt.Sprint(revisions[id]) != revision {
				t.Errorf("revision %s of %s is handed on, want revision %d", revision, id, revisions[id])
			}
			revisions[id]++
			n++
		}
	}
	if batch, _, err := in.next(t.Context(), in.db); err != nil || len(batch) > 0 {
		t.Errorf("%d results are handed on again, %v", len(batch), err)
	}
}

// Batches of one fleet beside another that sends only new keys: beyond the limit of its fleet, an
// event costs only a look-up.
func BenchmarkEventRulesBesideAFleetOfNewKeys(b *testing.B) {
	for _, share := range []int{0, 50} {
		b.Run(fmt.Sprintf("noisy=%d%%", share), func(b *testing.B) {
			w := newBench(b, benchRules)
			w.extra = "keys_per_fleet: 10000\n"
			o := w.operator()
			n := 0
			for b.Loop() {
				b.StopTimer()
				batch := make(service.MessageBatch, 5000)
				for i := range batch {
					fleet, device := "honest", fmt.Sprintf("pump-%04d", n%500)
					if n%100 < share {
						fleet, device = "noisy", fmt.Sprintf("new-%08d", n)
					}
					raw := strings.Replace(sample, "pump-0001", device, 1)
					raw = strings.Replace(raw, "2026-11-21T09:15:00.123Z",
						noon().Add(time.Duration(n)*100*time.Microsecond).Format(time.RFC3339Nano), 1)
					batch[i] = of(fleet, message(0, int64(n), raw))
					n++
				}
				b.StartTimer()
				w.apply(o, batch...)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/event")
		})
	}
}
