package dedupe

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir/internal/event"
	"weir/internal/platform/kafka"
	"weir/tests/integration/require"
)

// testLogs are topics whose identity a test sets.
type testLogs struct {
	mu    sync.Mutex
	known map[string]kafka.Log
	down  atomic.Bool
	asked atomic.Int64
}

func (l *testLogs) Of(_ context.Context, _ time.Time, topics ...string) (out []kafka.Log, err error) {
	l.asked.Add(1)
	if l.down.Load() {
		return nil, errors.New("no broker answers")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range topics {
		out = append(out, l.known[topic])
	}
	return out, nil
}

func (l *testLogs) Close() {}

func (l *testLogs) set(topic string, log kafka.Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[topic] = log
}

// inLog makes a processor whose topics are what the test says.
func inLog(t testing.TB, stores *pool, url string, raw, replay kafka.Log) (*processor, *testLogs) {
	p := newTestProcessor(t, stores, "url: "+url)
	l := &testLogs{known: map[string]kafka.Log{"raw-events": raw, "replay-events": replay}}
	p.logs = l
	return p, l
}

// claimURLs are the stores that outlive a log.
func claimURLs(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("pebble", func(t *testing.T) { test(t, "pebble://"+filepath.Join(t.TempDir(), "claims")) })
	t.Run("redis", func(t *testing.T) { test(t, require.Env(t, "WEIR_TEST_REDIS_URL")) })
}

func TestDedupe_AClaimOfAnotherLogIsNoClaim(t *testing.T) {
	claimURLs(t, func(t *testing.T, url string) {
		stores, x, y := newTestPool(), uuid.NewString(), uuid.NewString()
		before, _ := inLog(t, stores, url, 1, 2)
		process(t, before, record(x, 0, 0))
		raw, _ := inLog(t, stores, url, 3, 2)
		rollup, _ := inLog(t, stores, url, 3, 2)
		for _, p := range []*processor{raw, rollup, raw} { // redelivered, too
			out := process(t, p, record(y, 0, 0), record(x, 0, 1))
			if duplicateOf(out[0]) != "" || duplicateOf(out[1]) != "" {
				t.Fatalf("marked as duplicates of %q and %q", duplicateOf(out[0]), duplicateOf(out[1]))
			}
		}
		for _, p := range []*processor{raw, rollup} {
			if out := process(t, p, record(x, 0, 2)); duplicateOf(out[0]) != "raw-events/0/1" {
				t.Errorf("sent again in the new log, it is a duplicate of %q", duplicateOf(out[0]))
			}
		}
	})
}

// Two logs share the claims all the time: each takes the other's for none.
func TestDedupe_TwoLogsOnOneStoreLoseNothing(t *testing.T) {
	claimURLs(t, func(t *testing.T, url string) {
		stores, id := newTestPool(), uuid.NewString()
		var logs []*processor
		for n := range kafka.Log(2) {
			p, _ := inLog(t, stores, url, 10+n, 20+n)
			logs = append(logs, p)
		}
		for offset := range int64(3) {
			for n, p := range logs {
				if out := process(t, p, record(id, 0, offset)); duplicateOf(out[0]) != "" {
					t.Fatalf("log %d, offset %d: marked as a duplicate of %q, which the other log made", n, offset,
						duplicateOf(out[0]))
				}
			}
		}
	})
}

// What claims said before they named their log holds for none: an event that is
// sent again then is stored once more, and counted once by the rollups' ledger.
func TestDedupe_AClaimWithoutALogIsNoClaim(t *testing.T) {
	stores, url, x := newTestPool(), "pebble://"+filepath.Join(t.TempDir(), "claims"), uuid.NewString()
	p, _ := inLog(t, stores, url, 1, 2)
	claims := newClaims([]delivery{{id: uuid.MustParse(x), fleet: "f", at: at(0, 7)}}, nil)
	claims[0].mine = claims[0].mine[:len(claims[0].mine)-logBytes]
	if err := p.handle.store.claim(t.Context(), claims); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if out := process(t, p, record(x, 0, 9)); duplicateOf(out[0]) != "" {
			t.Fatalf("marked as a duplicate of %q", duplicateOf(out[0]))
		}
	}
	if out := process(t, p, record(x, 0, 10)); duplicateOf(out[0]) != "raw-events/0/9" {
		t.Errorf("sent again, it is a duplicate of %q", duplicateOf(out[0]))
	}
}

// The topic is made anew while the identity that was read before still counts.
func TestDedupe_ADuplicateRestsOnWhatTheBrokersSayNow(t *testing.T) {
	stores, id := newTestPool(), uuid.NewString()
	p, l := inLog(t, stores, "pebble://"+filepath.Join(t.TempDir(), "claims"), 1, 2)
	process(t, p, record(id, 0, 5))
	l.set("raw-events", 9)
	if out := process(t, p, record(id, 0, 0)); duplicateOf(out[0]) != "" {
		t.Fatalf("marked as a duplicate of %q", duplicateOf(out[0]))
	}
	asked := l.asked.Load()
	process(t, p, record(uuid.NewString(), 0, 1))
	if n := l.asked.Load() - asked; n != 1 {
		t.Errorf("a batch without duplicates looked %d times", n)
	}
}

func TestDedupe_AcrossTopicsOneEventIsOne(t *testing.T) {
	p, l := inLog(t, newTestPool(), "pebble://"+filepath.Join(t.TempDir(), "claims"), 1, 2)
	id := uuid.NewString()
	redriven := func(offset int64) *service.Message {
		msg := record(id, 0, offset)
		msg.MetaSetMut("kafka_topic", "replay-events")
		return msg
	}
	process(t, p, redriven(4))
	if out := process(t, p, record(id, 0, 8)); duplicateOf(out[0]) != "replay-events/0/4" {
		t.Errorf("marked as a duplicate of %q", duplicateOf(out[0]))
	}
	l.set("replay-events", 3)
	if out := process(t, p, record(id, 0, 9)); duplicateOf(out[0]) != "" {
		t.Errorf("a claim of a topic that was made anew counts: %q", duplicateOf(out[0]))
	}
}

func TestDedupe_WithoutTheBrokersEventsWait(t *testing.T) {
	p, l := inLog(t, newTestPool(), "pebble://"+filepath.Join(t.TempDir(), "claims"), 1, 2)
	l.down.Store(true)
	done := make(chan service.MessageBatch)
	go func() { done <- process(t, p, record(uuid.NewString(), 0, 1)) }()
	select {
	case <-done:
		t.Fatal("an event passed though nobody knows which log it lies in")
	case <-time.After(200 * time.Millisecond):
	}
	l.down.Store(false)
	if out := <-done; event.Meta(out[0], event.MetaUnclaimed) != "" {
		t.Error("it passed unclaimed")
	}
}

// An embedded broker keeps its identity over restarts, and a new one has its own.
func TestDedupe_TheBrokersSayWhichLogATopicIs(t *testing.T) {
	dir := t.TempDir()
	read := func(dir string, anew bool) kafka.Log {
		t.Helper()
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("weir"), kfake.DataDir(dir), kfake.SyncWrites())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if anew {
			if err := c.CreateTopic("raw-events", 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		p := newTestProcessor(t, newTestPool(), fmt.Sprintf("url: pebble://%s\nseed_brokers: [%q]",
			filepath.Join(t.TempDir(), "claims"), c.ListenAddrs()[0]))
		got, err := p.logs.Of(t.Context(), time.Now(), "raw-events", "none")
		if err != nil || got[0] == 0 || got[1] != 0 {
			t.Fatalf("%v (%v)", got, err)
		}
		return got[0]
	}
	first := read(dir, true)
	if read(dir, false) != first {
		t.Error("a restart made another log of it")
	}
	if read(t.TempDir(), true) == first {
		t.Error("a new log has the identity of the old")
	}
}

// A dead letter of an older log stands for itself among all groups, if the raw
// store is to keep it; for another stage alone, or of a log that nobody knows, it
// passes, and makes no claim that would keep the raw store from an event.
func TestDedupe_ARedriveOfAnotherLogStandsForItself(t *testing.T) {
	p, _ := inLog(t, newTestPool(), "pebble://"+filepath.Join(t.TempDir(), "claims"), 1, 2)
	redriven := func(id, log, targets string, offset int64) *service.Message {
		msg := record(id, 0, offset)
		msg.MetaSetMut("kafka_topic", "replay-events")
		msg.MetaSetMut(event.HeaderDelivery, at(0, 5).In(log))
		msg.MetaSetMut(event.HeaderTarget, targets)
		return msg
	}
	const old = "00000000000000a1"
	x, y, z := uuid.NewString(), uuid.NewString(), uuid.NewString()
	process(t, p, redriven(x, old, "raw,rollup", 0))
	process(t, p, redriven(y, old, "rollup", 1))
	process(t, p, record(z, 0, 5)) // in today's log
	for _, c := range []struct {
		what, want string
		msg        *service.Message
	}{
		{"sent again, the event that was redriven", "replay-events/0/0", record(x, 0, 9)},
		{"sent again, the event that the raw store was not given", "", record(y, 0, 10)},
		{"redriven, an event that today's log has", "raw-events/0/5", redriven(z, old, "raw,rollup", 2)},
		{"redriven from a log that may be today's", "", redriven(z, event.UnknownLog, "raw,rollup", 3)},
	} {
		if out := process(t, p, c.msg); duplicateOf(out[0]) != c.want {
			t.Errorf("%s: marked as a duplicate of %q, expected %q", c.what, duplicateOf(out[0]), c.want)
		}
	}
}
