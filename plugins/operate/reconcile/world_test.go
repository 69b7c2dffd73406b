package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // what every stream needs
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/kafka"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/tests/integration/testbed"
)

// world is a log and the two stores, filled by the rooms that fill them.
type world struct {
	*testing.T
	brokers, prefix string // prefix makes the names of topics and groups the test's own
	client          *kgo.Client
	admin           *kadm.Client
	rawURL, deadURL string
	toRaw, toDead   service.MessageBatchHandlerFunc
	records         map[event.Coordinates]*kgo.Record
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return newWorldOn(t, c.ListenAddrs()[0], "")
}

func newWorldOn(t *testing.T, brokers, prefix string) *world {
	t.Helper()
	w := &world{T: t, brokers: brokers, prefix: prefix,
		records: map[event.Coordinates]*kgo.Record{},
		rawURL:  "file://" + t.TempDir(), deadURL: "file://" + t.TempDir()}
	w.connect()
	for topic, partitions := range map[string]int32{"raw-events": 2, "replay-events": 1, "dead-letter": 1} {
		created, err := w.admin.CreateTopic(context.Background(), partitions, 1, nil, prefix+topic)
		if err == nil {
			err = created.Err
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.toRaw = w.output("raw_store", w.rawURL)
	w.toDead = w.output("dead_letter_store", w.deadURL)
	return w
}

// connect makes the clients.
func (w *world) connect() {
	w.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(w.brokers, ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(client.Close)
	w.client, w.admin = client, kadm.NewClient(client)
}

// at are coordinates in raw-events.
func (w *world) at(partition int32, offset int64) event.Coordinates {
	return event.Coordinates{Topic: w.prefix + "raw-events", Partition: partition, Offset: offset}
}

// remove deletes the records before an offset, as retention would.
func (w *world) remove(topic string, partition int32, before int64) {
	w.Helper()
	o := kadm.Offsets{}
	o.AddOffset(w.prefix+topic, partition, before, -1)
	deleted, err := w.admin.DeleteRecords(context.Background(), o)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		w.Fatal(err)
	}
}

// output runs a stream that writes what it is given.
func (w *world) output(name, url string) service.MessageBatchHandlerFunc {
	w.Helper()
	env := service.NewEnvironment()
	for _, register := range []func(*service.Environment) error{raw.Register, deadletter.Register} {
		if err := register(env); err != nil {
			w.Fatal(err)
		}
	}
	b := env.NewStreamBuilder()
	push, err := b.AddBatchProducerFunc()
	if err != nil {
		w.Fatal(err)
	}
	if err := b.AddOutputYAML(fmt.Sprintf("%s:\n  url: %s\n", name, url)); err != nil {
		w.Fatal(err)
	}
	if err := b.SetLoggerYAML("level: ERROR"); err != nil {
		w.Fatal(err)
	}
	testbed.Run(w, b)
	return push
}

// produce appends n events to a partition, and returns the first offset.
func (w *world) produce(topic string, partition int32, n int, headers ...kgo.RecordHeader) (first int64) {
	w.Helper()
	topic = w.prefix + topic
	now := time.Now()
	var records []*kgo.Record
	for range n {
		records = append(records, &kgo.Record{
			Topic: topic, Partition: partition, Key: []byte("d-1"),
			Value: fmt.Appendf(nil, `{"event_id":%q,"device_id":"d-1","device_firmware_version":"1.2.0","timestamp":%q,"metrics":{"cpu_temp":41.5}}`,
				uuid.NewString(), now.UTC().Format(time.RFC3339Nano)),
			Headers: append([]kgo.RecordHeader{
				{Key: event.HeaderFleet, Value: []byte("f")},
				{Key: event.HeaderReceivedAt, Value: []byte(now.UTC().Format(event.TimeFormat))},
			}, headers...),
		})
	}
	if err := w.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		w.Fatal(err)
	}
	for _, r := range records {
		w.records[event.Coordinates{Topic: topic, Partition: partition, Offset: r.Offset}] = r
	}
	return records[0].Offset
}

// again appends a record of a partition once more, and returns its offset.
func (w *world) again(topic string, partition int32, offset int64) int64 {
	w.Helper()
	topic = w.prefix + topic
	return w.copy(topic, partition, event.Coordinates{Topic: topic, Partition: partition, Offset: offset})
}

func (w *world) copy(topic string, partition int32, from event.Coordinates, headers ...kgo.RecordHeader) int64 {
	w.Helper()
	of := w.records[from]
	r := &kgo.Record{Topic: topic, Partition: partition, Key: of.Key, Value: of.Value,
		Headers: slices.Concat(of.Headers, headers)}
	if err := w.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
	w.records[event.Coordinates{Topic: topic, Partition: partition, Offset: r.Offset}] = r
	return r.Offset
}

// republish appends a record once more, as one that was first delivered elsewhere.
func (w *world) republish(topic string, partition int32, of event.Coordinates, delivery string,
	headers ...kgo.RecordHeader) int64 {
	w.Helper()
	return w.copy(w.prefix+topic, partition, of,
		append(headers, kgo.RecordHeader{Key: event.HeaderDelivery, Value: []byte(delivery)})...)
}

// message is a record as a Kafka input would hand it on.
func (w *world) message(topic string, partition int32, offset int64) *service.Message {
	w.Helper()
	topic = w.prefix + topic
	r := w.records[event.Coordinates{Topic: topic, Partition: partition, Offset: offset}]
	if r == nil {
		w.Fatalf("no record %s/%d/%d was produced", topic, partition, offset)
	}
	msg := service.NewMessage(r.Value)
	for _, h := range r.Headers {
		msg.MetaSetMut(h.Key, string(h.Value))
	}
	msg.MetaSetMut("kafka_topic", topic)
	msg.MetaSetMut("kafka_partition", int(partition))
	msg.MetaSetMut("kafka_offset", int(offset))
	msg.MetaSetMut("kafka_timestamp_ms", r.Timestamp.UnixMilli())
	return msg
}

// store writes records [first, limit) to the raw store.
func (w *world) store(topic string, partition int32, first, limit int64) {
	w.Helper()
	var batch service.MessageBatch
	for o := first; o < limit; o++ {
		batch = append(batch, w.message(topic, partition, o))
	}
	w.push(w.toRaw, batch)
}

func (w *world) push(to service.MessageBatchHandlerFunc, batch service.MessageBatch) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := to(ctx, batch); err != nil {
		w.Fatal(err)
	}
}

// deadLetter puts a dead letter of a record on the log, and into the store too
// when asked.
func (w *world) deadLetter(origin *event.Coordinates, store bool) { w.deadLetterOf("", origin, store) }

// deadLetterOf is deadLetter for a record of a log that the letter names.
func (w *world) deadLetterOf(log string, origin *event.Coordinates, store bool) {
	w.Helper()
	e := deadletter.NewEnvelope(deadletter.Failure{
		Stage: "raw", Rejection: event.Reject(event.CodeInvalidEvent, "", "no event"), Original: []byte("x"), Record: origin,
		RecordLog: log, FailedAt: time.Now(),
	})
	value, err := json.Marshal(e)
	if err != nil {
		w.Fatal(err)
	}
	r := &kgo.Record{Topic: w.prefix + "dead-letter", Value: value}
	if err := w.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
	w.records[event.Coordinates{Topic: r.Topic, Offset: r.Offset}] = r
	if store {
		w.push(w.toDead, service.MessageBatch{w.message("dead-letter", 0, r.Offset)})
		w.commit("weir-dead-letter", "dead-letter", 0, r.Offset+1)
	}
}

func (w *world) commit(group, topic string, partition int32, next int64) {
	w.Helper()
	o := kadm.Offsets{}
	o.AddOffset(w.prefix+topic, partition, next, -1)
	if err := w.admin.CommitAllOffsets(context.Background(), w.prefix+group, o); err != nil {
		w.Fatal(err)
	}
}

func (w *world) config() Config {
	w.Helper()
	log, err := kafka.New([]string{w.brokers}, nil, kafka.Login{})
	if err != nil {
		w.Fatal(err)
	}
	conf := Config{
		Log: log, Topics: []string{w.prefix + "raw-events", w.prefix + "replay-events"},
		DeadLetterTopic: w.prefix + "dead-letter", RawGroup: w.prefix + "weir-raw", DeadLetterGroup: w.prefix +
			"weir-dead-letter",
	}
	for url, to := range map[string]**lake.Store{w.rawURL: &conf.Raw, w.deadURL: &conf.DeadLetter} {
		s, err := lake.Open(context.Background(), url)
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = s.Close() })
		*to = s
	}
	return conf
}

func (w *world) reconciler(deep bool) *Reconciler {
	w.Helper()
	conf := w.config()
	conf.Deep = deep
	a, err := New(conf)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(a.Close)
	return a
}

func (w *world) run(a *Reconciler, opt Options) *Report {
	w.Helper()
	r, err := a.Run(context.Background(), opt)
	if err != nil {
		w.Fatal(err)
	}
	if c := r.Total; c.Accepted !=
		c.Stored+c.Erased+c.Duplicates+c.DeadLettered+c.Other+c.Markers+c.InFlight+c.FalseDuplicates+c.Unexplained {
		w.Fatalf("%+v does not add up", c)
	}
	return r
}
