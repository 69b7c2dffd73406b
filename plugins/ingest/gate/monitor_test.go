package gate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// testLog is a broker of a test, with records in it.
type testLog struct {
	t       *testing.T
	addrs   []string
	client  *kgo.Client
	admin   *kadm.Client
	cluster *kfake.Cluster
}

func newKafka(t *testing.T) *testLog {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("raw-events"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &testLog{t: t, addrs: c.ListenAddrs(), client: cl, admin: kadm.NewClient(cl), cluster: c}
}

func (k *testLog) write(n int, at time.Time) {
	k.t.Helper()
	for i := range n {
		k.client.Produce(context.Background(), &kgo.Record{Partition: int32(i % 2), Value: []byte("x"), Timestamp: at}, nil)
	}
	if err := k.client.Flush(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

func (k *testLog) commit(group string, each int64) {
	k.t.Helper()
	var o kadm.Offsets
	for p := range int32(2) {
		o.Add(kadm.Offset{Topic: "raw-events", Partition: p, At: each, LeaderEpoch: -1})
	}
	if err := k.admin.CommitAllOffsets(k.t.Context(), group, o); err != nil {
		k.t.Fatal(err)
	}
}

func (k *testLog) ends() (total int64) {
	k.t.Helper()
	ends, err := k.admin.ListEndOffsets(k.t.Context(), "raw-events")
	if err != nil {
		k.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	return total
}

// The gate measures the log, refuses while a group is behind, says why and for
// how long, and takes events again when the group has caught up.
func TestGate_BacklogInKafkaHoldsEventsBack(t *testing.T) {
	k := newKafka(t)
	w := newWorld(t, fmt.Sprintf(`    backpressure:
      seed_brokers: [ "%s" ]
      topic: raw-events
      groups: [ weir-raw, weir-rollup ]
      max_records: 1000
      interval: 20ms`, strings.Join(k.addrs, ",")))
	until := func(status int) reply {
		t.Helper()
		var r reply
		for range 250 {
			if r = w.post(goodEvent); r.status == status {
				return r
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("never %d: %d %s", status, r.status, r.body)
		return r
	}
	until(202)
	k.write(2000, time.Now())
	half := k.ends() / 2
	k.commit("weir-raw", half)
	k.commit("weir-rollup", 10)
	r := until(429)
	for range 100 { // a measurement between the two commits names the other group
		if strings.Contains(r.Detail, "weir-rollup") {
			break
		}
		time.Sleep(20 * time.Millisecond)
		r = until(429)
	}
	if r.Type != "https://weir.dev/problems/backlog-full" || !strings.Contains(r.Detail, "weir-rollup") ||
		r.header.Get("Retry-After") == "" || r.header.Get("Retry-After") == "0" {
		t.Errorf("%v %s", r.header, r.body)
	}
	before := len(w.sink.all())
	for range 20 {
		if r := w.post(goodEvent); r.status != 429 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if n := len(w.sink.all()); n != before {
		t.Errorf("%d events of refused requests were queued", n-before)
	}
	k.commit("weir-rollup", half)
	until(202)

	k.cluster.Close() // the broker is gone: the last decision stands
	time.Sleep(200 * time.Millisecond)
	if r := w.post(goodEvent); r.status != 202 {
		t.Errorf("%d %s", r.status, r.body)
	}
}
