// Package testlog provides a Kafka topic with two partitions, and functions that write records and commit offsets.
package testlog

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Log is a broker and one topic of two partitions.
type Log struct {
	Addrs  []string
	Topic  string
	Client *kgo.Client
	Admin  *kadm.Client
	Close  func() // stops the broker before the test ends; a call is optional

	t *testing.T
}

// New starts a broker with the topic raw-events. It runs until the test ends.
func New(t *testing.T) *Log {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "raw-events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	k := At(t, "raw-events", c.ListenAddrs()...)
	k.Close = c.Close
	return k
}

// At returns a Log for a topic of a running broker. The test creates the topic.
func At(t *testing.T, topic string, addrs ...string) *Log {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &Log{Addrs: addrs, Topic: topic, Admin: kadm.NewClient(client), Close: func() {}, t: t, Client: client}
}

// Write writes n records with a timestamp, alternating between the partitions.
func (k *Log) Write(n int, at time.Time) {
	k.t.Helper()
	for i := range n {
		k.Client.Produce(context.Background(), &kgo.Record{Partition: int32(i % 2), Value: []byte("x"), Timestamp: at}, nil)
	}
	if err := k.Client.Flush(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

// Commit commits the offset each in both partitions for a group.
func (k *Log) Commit(group string, each int64) { k.CommitAs(group, each, "") }

// CommitAs is Commit with metadata.
func (k *Log) CommitAs(group string, each int64, note string) {
	k.t.Helper()
	var o kadm.Offsets
	for p := range int32(2) {
		o.Add(kadm.Offset{Topic: k.Topic, Partition: p, At: each, LeaderEpoch: -1, Metadata: note})
	}
	if err := k.Admin.CommitAllOffsets(k.t.Context(), group, o); err != nil {
		k.t.Fatal(err)
	}
}

// Ends returns the sum of the end offsets of the partitions.
func (k *Log) Ends() (total int64) {
	k.t.Helper()
	ends, err := k.Admin.ListEndOffsets(k.t.Context(), k.Topic)
	if err != nil {
		k.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	return total
}
