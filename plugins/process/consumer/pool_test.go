package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A batch of one record, as light traffic makes them, holds little memory.
func TestPool_ABatchOfOneRecordHoldsLittle(t *testing.T) {
	p, held := &pool{}, 0
	for range 1000 {
		held += cap(p.GetRecords(1))
	}
	if held > 8000 {
		t.Errorf("1,000 batches of one record hold room for %d", held)
	}
}

// What a message says stays what it was when the memory of its record serves others.
func TestConsumer_MessagesOutliveTheirRecords(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	at := func(i int) string { return fmt.Sprintf("event %d", i) }
	const n, each = 2000, 20
	client, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...), kgo.WithPools(&pool{}),
		kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	texts := texts{}
	told := tell("events", 0, &texts)
	read := 0
	for i := range n / each {
		for j := range each {
			text := []byte(at(i*each + j))
			client.Produce(t.Context(), &kgo.Record{Topic: "events", Value: text, Timestamp: time.UnixMilli(int64(i*each + j)),
				Headers: []kgo.RecordHeader{{Key: "h", Value: text}}}, nil)
		}
		if err := client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for read < (i+1)*each {
			records := client.PollFetches(t.Context()).Records()
			batch := told.messages(records, nil)
			recycle(records)
			for _, msg := range batch {
				raw, err := msg.AsBytes()
				h, _ := msg.MetaGetMut("h")
				offset, _ := msg.MetaGetMut("kafka_offset")
				ms, _ := msg.MetaGetMut("kafka_timestamp_ms")
				if err != nil || string(raw) != at(read) || h != at(read) || offset != read || ms != int64(read) {
					t.Fatalf("message %d is %q, %v, %v, %v: %v", read, raw, h, offset, ms, err)
				}
				read++
			}
			for _, r := range records {
				if r != nil {
					t.Fatal("a record that was given back is held")
				}
			}
		}
	}
}
