package kafka

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

// Bytes are those of the topics that are asked for, and of none where they are not
// there: not of all that the brokers have.
func TestPositions_BytesAreOfTheTopicsAlone(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events", "others"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, topic := range []string{"events", "others"} {
		for range 10 {
			r := &kgo.Record{Topic: topic, Value: []byte(strings.Repeat("x", 1000))}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := Positions{Admin: kadm.NewClient(client)}
	n, err := p.Bytes(t.Context(), "events", "there-is-none")
	if err != nil || n < 10_000 || n > 20_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := p.Bytes(t.Context(), "there-is-none"); err != nil || n != 0 {
		t.Errorf("a topic that is not there has %d bytes, %v", n, err)
	}
}

// Brokers of Kafka tell what lies on their disks.
func TestPositions_BytesOfARealKafka(t *testing.T) {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), ",")...),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	p := Positions{Admin: kadm.NewClient(client)}
	topic := fmt.Sprintf("kafka-bytes-%d", time.Now().UnixNano())
	if _, err := p.Admin.CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p.Admin.DeleteTopics(context.Background(), topic) })
	r := &kgo.Record{Topic: topic, Value: []byte(strings.Repeat("x", 10_000))}
	if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Bytes(t.Context(), topic); err != nil || n < 10_000 || n > 20_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
