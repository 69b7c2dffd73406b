package admission

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/require"
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

// A gate that starts beside an old backlog knows how old it is.
func TestAdmission_AgeOfTheBacklogIsKnownAfterARestart(t *testing.T) {
	k := newKafka(t)
	k.write(10, time.Now().Add(-8*time.Minute))
	k.write(10, time.Now())
	k.commit("weir-raw", 2)
	m := &Monitor{conf: Measurement{Topic: "raw-events", Groups: []string{"weir-raw"}, Bounds: Bounds{Records: 1000,
		Age: 10 * time.Minute, Resume: 0.8}}, admin: k.admin}
	r, err := m.measure(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r.records != 16 || r.age < 5*time.Minute || r.age > 9*time.Minute {
		t.Errorf("%+v", r)
	}
}

// The same against a real broker: groups that never committed, that did, and
// how old what they have left is.
func TestAdmission_BacklogIsMeasuredInRealKafka(t *testing.T) {
	brokers := strings.Split(require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), ",")
	topic := fmt.Sprintf("gate-backlog-%d", time.Now().UnixNano())
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	k := &testLog{t: t, client: cl, admin: kadm.NewClient(cl)}
	if _, err := k.admin.CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = k.admin.DeleteTopics(context.Background(), topic) })
	k.write(10, time.Now().Add(-8*time.Minute))
	k.write(10, time.Now())
	var o kadm.Offsets
	for p := range int32(2) {
		o.Add(kadm.Offset{Topic: topic, Partition: p, At: 9, LeaderEpoch: -1})
	}
	if err := k.admin.CommitAllOffsets(t.Context(), topic+"-fast", o); err != nil {
		t.Fatal(err)
	}
	conf := Measurement{Topic: topic, Groups: []string{topic + "-fast"}, Interval: 20 * time.Millisecond,
		Bounds: Bounds{Records: 1000, Age: 10 * time.Minute, Resume: 0.8}}
	m := &Monitor{conf: conf, admin: k.admin}
	if r, err := m.measure(t.Context(), time.Now()); err != nil || r.records != 2 || r.age > time.Minute {
		t.Errorf("a group that is almost there: %+v %v", r, err)
	}
	m.conf.Groups = append(m.conf.Groups, topic+"-none")
	if r, err := m.measure(t.Context(), time.Now()); err != nil || r.group != topic+"-none" || r.records != 20 ||
		r.age < 5*time.Minute || r.age > 9*time.Minute {
		t.Errorf("a group that never committed: %+v %v", r, err)
	}
}
