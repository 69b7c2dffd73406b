package replay

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

// aLog is a log with both topics, and who writes to it.
func aLog(t *testing.T) (log kafka.Cluster, client *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "raw-events", "replay-events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if client, err = kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if log, err = kafka.New(c.ListenAddrs(), nil, kafka.Login{}); err != nil {
		t.Fatal(err)
	}
	return log, client
}

func produce(t *testing.T, client *kgo.Client, topic string, n int) {
	t.Helper()
	for range n {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("{}")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, client *kgo.Client, group string, offset int64) {
	t.Helper()
	var o kadm.Offsets
	o.AddOffset("replay-events", 0, offset, -1)
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), group, o); err != nil {
		t.Fatal(err)
	}
}

func watching(t *testing.T, log kafka.Cluster, y *yield) (w *watcher, busy *atomic.Bool) {
	t.Helper()
	busy = &atomic.Bool{}
	busy.Store(true)
	ctx, cancel := context.WithCancelCause(context.Background())
	w, err := startWatcher(ctx, log, []event.Consumer{{Group: "weir-raw", Target: event.TargetRaw},
		{Group: "weir-rollup", Target: event.TargetRollup}}, "raw-events", "replay-events", busy.Load, y,
		service.MockResources().Logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(errStopped); w.close() })
	return w, busy
}

func TestReplay_AJobWaitsForConsumersThatAreBehind(t *testing.T) {
	log, client := aLog(t)
	produce(t, client, "replay-events", 100)
	commit(t, client, "weir-raw", 40)
	w, _ := watching(t, log, newYield(50_000))
	p := &pace{most: 50_000, targets: []string{event.TargetRaw}, behind: 50, jobs: func() int64 {
		return 1
	}, yield: w.yield, watcher: w}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if group, n := w.furthest(p.targets); group == "weir-raw" && n == 60 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(group, n)
		}
	}
	if group, n := w.furthest([]string{event.TargetRollup}); group != "weir-rollup" || n != 100 {
		t.Fatalf("a group that has committed nothing has all of it before it: %s %d", group, n)
	}
	passed := make(chan error, 1)
	go func() { passed <- p.wait(t.Context(), 10) }()
	select {
	case <-passed:
		t.Fatal("60 records behind is more than 50")
	case <-time.After(500 * time.Millisecond):
	}
	if held := p.held(); !strings.Contains(held, "weir-raw") {
		t.Fatalf("it says what it waits for: %q", held)
	}
	commit(t, client, "weir-raw", 90)
	select {
	case err := <-passed:
		if err != nil || p.held() != "" {
			t.Fatal(err, p.held())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the group has caught up")
	}
}

func TestReplay_LiveTrafficIsSeenInTheLog(t *testing.T) {
	log, client := aLog(t)
	produce(t, client, "raw-events", 3) // of before
	y := newYield(50_000)
	y.hold()
	watching(t, log, y)
	until := func(yields bool, what string) {
		t.Helper()
		for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if _, now := y.allowed(); now == yields {
				return
			} else if time.Now().After(deadline) {
				t.Fatal(what)
			}
			if yields {
				produce(t, client, "raw-events", 1)
			}
		}
	}
	until(false, "nothing comes in: a job need not make way")
	until(true, "events come in")
	until(false, "no more come in")
}
