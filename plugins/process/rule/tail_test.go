package rule

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A tail that the log did not show in time is read again later: otherwise the last windows would stay open until the
// next event.
func TestEventRules_ReadsATailAgainThatWasNotShownInTime(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var slow atomic.Bool
	log.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		log.KeepControl()
		if !slow.Load() {
			return nil, nil, false
		}
		time.Sleep(20 * time.Millisecond)
		return req.ResponseKind(), nil, true // an empty response
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.TransactionalID("t"),
		kgo.DefaultProduceTopic("raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, perMinute)
	b.extra = fmt.Sprintf("idle: 1h\nseed_brokers: [%q]\n", log.ListenAddrs()[0])
	o := b.operator()
	now := noon().Add(3 * time.Hour)
	o.now = func() time.Time { return now }
	b.apply(o, message(0, 0, at(0, 1)))
	o.idle = time.Nanosecond
	look := func(after time.Duration) []string {
		t.Helper()
		now = now.Add(after)
		if err := o.moveIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.count("minute")
	}
	slow.Store(true)
	if got := look(time.Hour); len(got) > 0 {
		t.Fatalf("the tail was not read, and time has moved on: %q", got)
	}
	slow.Store(false)
	if got := look(time.Second); len(got) > 0 {
		t.Errorf("the tail was read again before tailAgain: %q", got)
	}
	if got := look(time.Hour); !slices.Equal(got, []string{"pump-1 0s 1"}) {
		t.Errorf("the tail was not read again after tailAgain: %q", got)
	}
}
