package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/event"
)

// envelope stands for dead_letter: it replaces a failed message and clears its
// error, unless it cannot.
type envelope struct{}

func (envelope) Process(_ context.Context, msg *service.Message) (service.MessageBatch, error) {
	raw, err := msg.AsBytes()
	if err != nil {
		return nil, err
	}
	if string(raw) == "hopeless" {
		return nil, errors.New("no envelope can hold it")
	}
	if string(raw) == "unwanted" {
		return nil, nil
	}
	msg.SetBytes(append([]byte("letter: "), raw...))
	msg.SetError(nil)
	msg.MetaSetMut(event.MetaDevice, "letter-key")
	return service.MessageBatch{msg}, nil
}

func (envelope) Close(context.Context) error { return nil }

// world is a broker and an output that writes to it.
type world struct {
	t   testing.TB
	log *kfake.Cluster
	out *output
}

const letters = `
dead_letter:
  topic: dead-letter
  processors: [ { envelope: {} } ]
`

func newWorld(t testing.TB, conf string) *world {
	t.Helper()
	log, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "raw-events"),
		kfake.SeedTopics(1, "dead-letter"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	out := newOutput(parse(t, fmt.Sprintf("seed_brokers: [ %q ]\ntopic: raw-events\nlinger: 0s\n%s", log.ListenAddrs()[0],
		conf)))
	if err := out.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close(context.Background()) })
	return &world{t: t, log: log, out: out}
}

func parse(t testing.TB, conf string) config {
	t.Helper()
	env := service.NewEnvironment()
	if err := env.RegisterProcessor("envelope", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.Processor, error) {
			return envelope{}, nil
		}); err != nil {
		t.Fatal(err)
	}
	parsed, err := outputSpec().ParseYAML(conf, env)
	if err != nil {
		t.Fatal(err)
	}
	c, err := configFromParsed(parsed, service.MockResources().Logger())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func healthy(device, body string, meta ...string) *service.Message {
	msg := service.NewMessage([]byte(body))
	msg.MetaSetMut(event.MetaDevice, device)
	msg.MetaSetMut(event.MetaIndex, 7)
	for i := 0; i < len(meta); i += 2 {
		msg.MetaSetMut(meta[i], meta[i+1])
	}
	return msg
}

func failed(body string) *service.Message {
	msg := service.NewMessage([]byte(body))
	event.MarkRejected(msg, event.Reject(event.CodeSchemaViolation, "/a", "is bad"))
	return msg
}

// written reads n records of a topic.
func (w *world) written(topic string, n int) []*kgo.Record {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.log.ListenAddrs()...), kgo.ConsumeTopics(topic),
		kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	var got []*kgo.Record
	for len(got) < n {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			w.t.Fatalf("%d of %d records of %s: %v", len(got), n, topic, err)
		}
		got = append(got, f.Records()...)
	}
	brief, cancel := context.WithTimeout(w.t.Context(), 200*time.Millisecond)
	defer cancel()
	if more := cl.PollFetches(brief).Records(); len(got)+len(more) != n {
		w.t.Fatalf("%d records in %s, not %d", len(got)+len(more), topic, n)
	}
	return got
}

func TestEventLog_HealthyEventsAndDeadLettersAreWrittenTogether(t *testing.T) {
	w := newWorld(t, letters)
	batch := service.MessageBatch{
		healthy("d-1", "one", event.HeaderFleet, "acme", "local_secret", "x", event.HeaderTraceparent, "00-trace", "other",
			"y"),
		failed("bad"),
		healthy("d-1", "two", event.HeaderFleet, "acme"),
		healthy("d-2", "three"),
	}
	batch[3].MetaSetMut("weir_number", 5) // as a mapping may set it
	if err := w.out.WriteBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	var ones []string
	for _, r := range w.written("raw-events", 3) {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		switch value := string(r.Value); value {
		case "one", "two":
			ones = append(ones, value)
			want := map[string]string{event.HeaderFleet: "acme"}
			if value == "one" {
				want[event.HeaderTraceparent] = "00-trace"
			}
			if string(r.Key) != "d-1" || fmt.Sprint(headers) != fmt.Sprint(want) {
				t.Errorf("%s: key %q, headers %v", value, r.Key, headers)
			}
		default:
			if string(r.Key) != "d-2" || fmt.Sprint(headers) != "map[weir_number:5]" {
				t.Errorf("%s: key %q, headers %v", value, r.Key, headers)
			}
		}
	}
	if !slices.Equal(ones, []string{"one", "two"}) {
		t.Errorf("a device's events are in the order %v", ones)
	}
	if r := w.written("dead-letter", 1)[0]; string(r.Value) != "letter: bad" || string(r.Key) != "letter-key" {
		t.Errorf("dead letter %q under %q", r.Value, r.Key)
	}
}

// The engine hands a batch in again when the connection was lost, or when an
// input sends again what was not acknowledged.
func TestEventLog_ABatchThatComesAgainMakesTheSameRecords(t *testing.T) {
	w := newWorld(t, letters)
	batch := service.MessageBatch{healthy("d-1", "one"), failed("bad")}
	for range 2 {
		if err := w.out.WriteBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	w.written("raw-events", 2)
	for _, r := range w.written("dead-letter", 2) {
		if string(r.Value) != "letter: bad" {
			t.Errorf("dead letter %q", r.Value)
		}
	}
}

func TestEventLog_NothingIsWrittenOfABatchThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		conf string
		msg  *service.Message
		says string
	}{
		"no topic for dead letters":   {"", failed("bad"), "no topic for dead letters"},
		"no dead letter can be made":  {letters, failed("hopeless"), "no envelope can hold it"},
		"a dead letter is dropped":    {letters, failed("unwanted"), "let them drop none"},
		"it stays failed":             {"dead_letter: { topic: dead-letter }", failed("bad"), "making a dead letter"},
		"an event without its device": {letters, service.NewMessage([]byte("x")), "schema_validate"},
		"a header that is not a string": {letters, func() *service.Message {
			m := healthy("d", "x")
			m.MetaSetMut("weir_x", func() {})
			return m
		}(), "weir_x"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.conf)
			err := w.out.WriteBatch(t.Context(), service.MessageBatch{healthy("d-1", "one"), c.msg})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %v", err)
			}
			w.written("raw-events", 0)
			w.written("dead-letter", 0)
			if err := w.out.WriteBatch(t.Context(), service.MessageBatch{healthy("d-1", "two")}); err != nil {
				t.Errorf("and the next batch: %v", err)
			}
			w.written("raw-events", 1)
		})
	}
}

func TestEventLog_ALetterLargerThanAnyBatchOfEventsIsWritten(t *testing.T) {
	w := newWorld(t, letters)
	if err := setMaxBytes(w.log, "dead-letter", "9437184"); err != nil {
		t.Fatal(err)
	}
	batch := service.MessageBatch{failed(strings.Repeat("x", 3<<20)), failed("small"), healthy("d-1", "one"),
		failed(strings.Repeat("y", 600_000))}
	if err := w.out.WriteBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, r := range w.written("dead-letter", 3) {
		sizes = append(sizes, len(r.Value))
	}
	slices.Sort(sizes)
	if !slices.Equal(sizes, []int{len("letter: small"), 600_008, 3<<20 + 8}) {
		t.Errorf("letters of %v bytes", sizes)
	}
	if string(w.written("raw-events", 1)[0].Value) != "one" {
		t.Error("another event was written")
	}
}

func setMaxBytes(log *kfake.Cluster, topic, n string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(log.ListenAddrs()...))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
		ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "max.message.bytes",
			Op: kmsg.IncrementalAlterConfigOpSet, Value: &n}},
	}}
	resp, err := req.RequestWith(context.Background(), cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Resources[0].ErrorCode)
}

// A batch waits for the brokers, and for all that they demand; nothing of it
// becomes a dead letter.
func TestEventLog_AnOutageIsWaitedFor(t *testing.T) {
	w := newWorld(t, letters)
	var refusals atomic.Int32
	w.log.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.log.KeepControl()
		if refusals.Add(1) > 3 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.(*kmsg.ProduceRequest).Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.NotEnoughReplicas.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	if err := w.out.WriteBatch(t.Context(), service.MessageBatch{healthy("d-1", "one")}); err != nil {
		t.Fatal(err)
	}
	if refusals.Load() < 4 {
		t.Errorf("acknowledged after %d requests", refusals.Load())
	}
	w.written("raw-events", 1)
	w.written("dead-letter", 0)
}

// What the log will never take fails the batch, and is no dead letter either.
func TestEventLog_WhatTheLogRefusesFailsTheBatch(t *testing.T) {
	w := newWorld(t, letters)
	err := w.out.WriteBatch(t.Context(), service.MessageBatch{healthy("d-1", strings.Repeat("x", 2<<20))})
	if !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("the error is %v", err)
	}
	w.written("dead-letter", 0)
	if err := w.out.WriteBatch(t.Context(), service.MessageBatch{healthy("d-1", "two")}); err != nil {
		t.Errorf("and the next batch: %v", err)
	}
}

func TestEventLog_ConnectSaysThatNoBrokerAnswers(t *testing.T) {
	log, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	addr := log.ListenAddrs()[0]
	log.Close()
	out := newOutput(parse(t, fmt.Sprintf("seed_brokers: [ %q ]\ntopic: raw-events", addr)))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := out.Connect(ctx); err == nil || !strings.Contains(err.Error(), "opening the log") {
		t.Errorf("the error is %v", err)
	}
	if err := out.WriteBatch(t.Context(), service.MessageBatch{healthy("d", "x")}); !errors.Is(err,
		service.ErrNotConnected) {
		t.Errorf("writing without a connection: %v", err)
	}
	if err := out.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEventLog_WrongConfigsSayWhy(t *testing.T) {
	for conf, says := range map[string]string{
		"seed_brokers: [ '' ]\ntopic: a":                                        "seed_brokers",
		"seed_brokers: [ x ]\ntopic: ''":                                        "topic",
		"seed_brokers: [ x ]\ntopic: a\ndead_letter: { topic: a }":              "dead_letter.topic",
		"seed_brokers: [ x ]\ntopic: a\nmax_message_bytes: lots":                "max_message_bytes",
		"seed_brokers: [ x ]\ntopic: a\nmax_in_flight: 0":                       "max_in_flight",
		"seed_brokers: [ x ]\ntopic: a\nlinger: -1s":                            "linger",
		"seed_brokers: [ x ]\ntopic: a\ndead_letter: { max_message_bytes: 1B }": "dead_letter.max_message_bytes",
	} {
		parsed, err := outputSpec().ParseYAML(conf, service.NewEnvironment())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := configFromParsed(parsed, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", conf, err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	w := newWorld(b, "")
	batch := make(service.MessageBatch, 100)
	for i := range batch {
		batch[i] = healthy(fmt.Sprintf("d-%d", i), strings.Repeat("x", 300), event.HeaderFleet, "acme",
			event.HeaderReceivedAt, "2026-11-21T09:15:01.000000Z", event.HeaderSchema, "telemetry/2")
	}
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := w.out.WriteBatch(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/event")
}
