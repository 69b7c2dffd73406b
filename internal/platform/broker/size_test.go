package broker

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The embedded broker takes and refuses what Kafka does with the topics that
// weir makes there, also on a log that had one limit for all topics.
func TestBroker_RefusesWhatKafkaWouldRefuse(t *testing.T) {
	dir := t.TempDir()
	open := func(topics []Topic) *Broker {
		b, err := Start(Config{Dir: dir, Address: "127.0.0.1:0", Password: password, Topics: topics,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	old := open([]Topic{{"raw-events", 1, time.Hour}})
	if err := old.cluster.CreateTopic("dead-letter", 1, nil); err != nil {
		t.Fatal(err)
	}
	old.Close()
	b := open(Topics())
	defer b.Close()
	client := dial(t, b, kgo.ProducerBatchMaxBytes(64<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for _, c := range []struct {
		topic   string
		bytes   int
		refused bool
	}{
		{"raw-events", 1_000_000, false}, {"raw-events", 1 << 20, true}, {"raw-events", 9_000_000, true},
		{"replay-events", 9_000_000, true},
		{"dead-letter", 8 << 20, false}, {"dead-letter", 9 << 20, true}, {"raw-events", 1, false},
	} {
		err := client.ProduceSync(t.Context(), &kgo.Record{Topic: c.topic, Value: make([]byte, c.bytes)}).FirstErr()
		if errors.Is(err, kerr.MessageTooLarge) != c.refused || err != nil && !c.refused {
			t.Errorf("%d bytes in %s: %v", c.bytes, c.topic, err)
		}
	}
}
