package dedupe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // generate and drop
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/tests/bench/backlog"
	"weir/tests/integration/require"
)

func newTestPool() *pool { return &pool{open: map[string]*handle{}} }

func newTestProcessor(t testing.TB, stores *pool, yaml string) *processor {
	t.Helper()
	if !strings.Contains(yaml, "timeout") {
		yaml += "\ntimeout: 20s" // the machine may be busy
	}
	conf, err := dedupeSpec().ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, service.MockResources(), stores)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func record(id string, partition int32, offset int64) *service.Message {
	msg := service.NewMessage(fmt.Appendf(nil, `{"event_id":%q,"device_id":"d-1","device_firmware_version":"1.2.0","timestamp":"2026-11-21T10:00:00Z","metrics":{"cpu_temp":41.5,"battery_voltage":3.7,"vibration":0.2}}`, id))
	msg.MetaSetMut("kafka_topic", "raw-events")
	msg.MetaSetMut("kafka_partition", int(partition))
	msg.MetaSetMut("kafka_offset", int(offset))
	msg.MetaSetMut(event.HeaderFleet, "f")
	return msg
}

func process(t testing.TB, p *processor, batch ...*service.Message) service.MessageBatch {
	t.Helper()
	out, err := p.ProcessBatch(context.Background(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 1 || len(out[0]) != len(batch) {
		t.Fatalf("a batch of %d became %d batches", len(batch), len(out))
	}
	for i := range batch {
		if out[0][i] != batch[i] {
			t.Fatal("the batch was reordered")
		}
	}
	return out[0]
}

func duplicateOf(msg *service.Message) string { return event.Meta(msg, event.MetaDuplicateOf) }

func TestDedupe_RedeliveryIsNotADuplicate(t *testing.T) {
	p := newTestProcessor(t, newTestPool(), `url: memory://`)
	id := uuid.NewString()
	for range 3 {
		if out := process(t, p, record(id, 1, 7)); duplicateOf(out[0]) != "" {
			t.Fatal("a redelivery was marked")
		}
	}
	out := process(t, p, record(strings.ToUpper(id), 1, 8), record(uuid.NewString(), 1, 9))
	if duplicateOf(out[0]) != "raw-events/1/7" || duplicateOf(out[1]) != "" {
		t.Fatalf("marked %q and %q", duplicateOf(out[0]), duplicateOf(out[1]))
	}
}

func TestDedupe_AReplayStandsForItsFirstDelivery(t *testing.T) {
	p := newTestProcessor(t, newTestPool(), `url: memory://`)
	id := uuid.NewString()
	process(t, p, record(id, 1, 7))
	replayed := record(id, 0, 3)
	replayed.MetaSetMut("kafka_topic", "replay-events")
	replayed.MetaSetMut(event.HeaderDelivery, "raw-events/1/7")
	second := record(id, 0, 4)
	second.MetaSetMut("kafka_topic", "replay-events")
	out := process(t, p, replayed, second)
	if duplicateOf(out[0]) != "" {
		t.Error("a replay of the record that counts was marked")
	}
	if duplicateOf(out[1]) != "raw-events/1/7" {
		t.Error("a second record of the event was not marked")
	}
}

func TestDedupe_PoisonIsMarkedAndItsNeighboursPass(t *testing.T) {
	p := newTestProcessor(t, newTestPool(), `url: memory://`)
	batch := service.MessageBatch{record(uuid.NewString(), 0, 1)}
	for i, bad := range []string{"", "{", "null", `{"event_id":1}`, `{"event_id":"x"}`, "\xff\x00"} {
		msg := record("", 0, int64(2+i))
		msg.SetBytes([]byte(bad))
		batch = append(batch, msg)
	}
	batch = append(batch, record(uuid.NewString(), 0, 20))
	failed := record(uuid.NewString(), 0, 21)
	before := errors.New("failed before")
	failed.SetError(before)
	stranger := service.NewMessage([]byte(`{}`))
	batch = append(batch, failed, stranger)

	out := process(t, p, batch...)
	for i, msg := range out[1:7] {
		if r := event.RejectionOf(msg); r == nil || (r.Code != event.CodeInvalidJSON && r.Code != event.CodeInvalidEvent) {
			t.Errorf("poison %d: %v", i, r)
		}
	}
	if out[0].GetError() != nil || out[7].GetError() != nil {
		t.Error("a neighbour failed")
	}
	if !errors.Is(out[8].GetError(), before) {
		t.Error("an earlier error was replaced")
	}
	if err := out[9].GetError(); err == nil || !strings.Contains(err.Error(), "kafka_topic") {
		t.Errorf("a message that is not from the log: %v", err)
	}
}

// downStore counts who asks it, and is down until told otherwise.
type downStore struct {
	store
	up    atomic.Bool
	asked atomic.Int64
}

func (d *downStore) claim(ctx context.Context, claims []claim) error {
	d.asked.Add(1)
	if !d.up.Load() {
		return errors.New("down")
	}
	return d.store.claim(ctx, claims)
}

func breakStore(p *processor) *downStore {
	d := &downStore{store: p.handle.store}
	p.handle.store = d
	return d
}

func TestDedupe_AnOutagePassesEventsOnAndHeals(t *testing.T) {
	p := newTestProcessor(t, newTestPool(), `url: memory://`)
	d := breakStore(p)
	id := uuid.NewString()
	for i := range 100 {
		out := process(t, p, record(id, 0, int64(i)))
		if event.Meta(out[0], event.MetaUnclaimed) == "" || duplicateOf(out[0]) != "" || out[0].GetError() != nil {
			t.Fatal("an event did not pass unclaimed")
		}
	}
	if n := d.asked.Load(); n > 5 {
		t.Errorf("a store that is down was asked %d times for 100 batches", n)
	}
	d.up.Store(true)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if out := process(t, p, record(id, 0, 500)); event.Meta(out[0], event.MetaUnclaimed) == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the store was not found again")
		}
	}
	if out := process(t, p, record(id, 0, 501)); duplicateOf(out[0]) != "raw-events/0/500" {
		t.Error("claims do not hold after the outage")
	}
}

func TestDedupe_StalledEventsWaitForTheStore(t *testing.T) {
	p := newTestProcessor(t, newTestPool(), "url: memory://\non_error: stall")
	d := breakStore(p)
	var passed atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			out := process(t, p, record(uuid.NewString(), 0, int64(i)))
			if event.Meta(out[0], event.MetaUnclaimed) != "" {
				t.Error("passed unclaimed")
			}
			passed.Add(1)
		})
	}
	time.Sleep(300 * time.Millisecond)
	if passed.Load() != 0 {
		t.Error("an event passed while the store was down")
	}
	if n := d.asked.Load(); n > 8 {
		t.Errorf("asked %d times in 0.3 s", n)
	}
	d.up.Store(true)
	wg.Wait()
}

func TestDedupe_StoppingFreesStalledEvents(t *testing.T) {
	p := newTestProcessor(t, newTestPool(), "url: memory://\non_error: stall")
	breakStore(p)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	out, err := p.ProcessBatch(ctx, service.MessageBatch{record(uuid.NewString(), 0, 1)})
	if err != nil || event.Meta(out[0][0], event.MetaUnclaimed) == "" || out[0][0].GetError() != nil {
		t.Fatalf("an outage at shutdown must not look like bad data (%v)", err)
	}
}

func TestDedupe_StreamsOfAProcessShareOneStore(t *testing.T) {
	stores := newTestPool() // of one environment; each manager of it makes its own resources
	url := "url: pebble://" + filepath.Join(t.TempDir(), "claims")
	id := uuid.NewString()
	a, b := newTestProcessor(t, stores, url), newTestProcessor(t, stores, url)
	process(t, a, record(id, 0, 1))
	if out := process(t, b, record(id, 0, 2)); duplicateOf(out[0]) != "raw-events/0/1" {
		t.Fatal("the second stream does not see the first one's claim")
	}
	if err := a.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if out := process(t, b, record(id, 0, 3)); duplicateOf(out[0]) != "raw-events/0/1" {
		t.Fatal("the store closed under the second stream")
	}
	conf, err := dedupeSpec().ParseYAML(url+"\nttl: 2h", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newProcessor(conf, service.MockResources(), stores); err == nil || !strings.Contains(err.Error(),
		"must agree") {
		t.Errorf("two TTLs on one store: %v", err)
	}
}

func TestDedupe_AWrongURLIsRefusedWithoutShowingIt(t *testing.T) {
	for _, url := range []string{"redis://u:secret@[bad", "http://u:secret@host", "pebble://",
		"redis://u:secret@host/notanumber"} {
		conf, err := dedupeSpec().ParseYAML(fmt.Sprintf("url: %q", url), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newProcessor(conf, service.MockResources(), newTestPool()); err == nil || strings.Contains(err.Error(),
			"secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestDedupe_AFrozenRedisCostsOneTimeout stands for a server that takes connections
// and never answers.
func TestDedupe_AFrozenRedisCostsOneTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newTestProcessor(t, newTestPool(), fmt.Sprintf("url: redis://%s\ntimeout: 200ms", l.Addr()))
	start := time.Now()
	for i := range 50 {
		if out := process(t, p, record(uuid.NewString(), 0, int64(i))); event.Meta(out[0], event.MetaUnclaimed) == "" {
			t.Fatal("claimed by nobody")
		}
	}
	if took := time.Since(start); took > 5*time.Second { // a timeout for each would be ten
		t.Errorf("50 batches took %s", took)
	}
}

func TestDedupe_TheExampleLints(t *testing.T) {
	env := service.NewEnvironment()
	if err := Register(env); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.SetYAML("input:\n  generate:\n    mapping: 'root = {}'\npipeline:\n  processors:\n    - label: claim\n " +
		"     event_dedupe:\n        url: memory://\n        ttl: 1h\noutput:\n  drop: {}\n"); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkProcessor(b *testing.B) {
	const size = 1000
	urls := map[string]string{"memory": "memory://", "pebble": "pebble://" + b.TempDir()}
	for name, url := range urls {
		benchProcessor(b, name, url, size)
	}
	b.Run("redis", func(b *testing.B) {
		url := require.Env(b, "WEIR_TEST_REDIS_URL")
		benchProcessor(b, "new", url, size)
	})
}

func benchProcessor(b *testing.B, name, url string, size int) {
	b.Run(name, func(b *testing.B) {
		p, _ := inLog(b, newTestPool(), url, 1, 2)
		batch := make(service.MessageBatch, size)
		b.ReportAllocs()
		for range b.N {
			b.StopTimer()
			for i := range batch {
				batch[i] = record(uuid.NewString(), 0, rand.Int64())
			}
			b.StartTimer()
			process(b, p, batch...)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "µs/event")
	})
}

// BenchmarkBacklog is what claiming a backlog costs for two groups, of which one
// is always the first to ask.
func BenchmarkBacklog(b *testing.B) {
	pool, url := newTestPool(), "pebble://"+b.TempDir()
	raw, _ := inLog(b, pool, url, 1, 2)
	rollup, _ := inLog(b, pool, url, 1, 2)
	backlog.Bench(b, func(read []service.MessageBatch) {
		for _, p := range []*processor{raw, rollup} {
			for _, batch := range read {
				process(b, p, batch...)
			}
		}
	}, func() {})
}

// While requests wait, a batch is processed later, and all the same: no peak
// stops the processing.
func TestDedupe_ProcessingMakesWayForRequestsAndStillGoesOn(t *testing.T) {
	p := newTestProcessor(t, newTestPool(), "url: memory://\nmake_way: 20")
	p.line.Add(1 << 20)
	batch := make(service.MessageBatch, 10)
	for i := range batch {
		batch[i] = record(uuid.NewString(), 0, int64(i))
	}
	least := 10 * time.Second / 20 // a core alone does as many a second as make_way says
	start := time.Now()
	process(t, p, batch...)
	if took := time.Since(start); took < least {
		t.Errorf("a batch of 10 at 20 a second made way for %s, want at least %s", took, least)
	}
	p.line.Add(-1 << 20)
	start = time.Now()
	process(t, p, batch...)
	if took := time.Since(start); took >= least {
		t.Errorf("a batch took %s though nobody waits", took)
	}
}
