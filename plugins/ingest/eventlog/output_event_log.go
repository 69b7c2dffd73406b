// Package eventlog writes events to the log: the healthy ones to its topic, the
// failed ones, as dead letters, beside it.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/kafka"
	"weir/internal/platform/trace"
)

const (
	eventLogFieldClientID    = "client_id"
	eventLogFieldTopic       = "topic"
	eventLogFieldCompression = "compression"
	eventLogFieldLinger      = "linger"
	eventLogFieldTimeout     = "timeout"
	eventLogFieldMaxBytes    = "max_message_bytes"
	eventLogFieldMaxBuffered = "max_buffered_records"
	eventLogFieldMaxInFlight = "max_in_flight"

	eventLogFieldDeadLetter = "dead_letter"
	eventLogFieldProcessors = "processors"
)

func outputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Services").
		Summary("Writes events to a topic of Kafka, and failed ones, as dead letters, to another.").
		Description(`
A batch is acknowledged when all of it is durable: every replica in sync has each record, which is written idempotently. While the brokers
are away, batches wait. When a batch fails, some of it may have been written: whoever sends it again makes duplicates, which event ids tell.

The key of a record is the device (metadata `+"`local_device`"+`, which `+"`schema_validate`"+` sets), hashed as Kafka's own clients do it, so that a
device's events stay in order. The value is the message's bytes. Its headers are the metadata whose names begin with `+"`weir_`"+`, and `+"`traceparent`"+`.

Processors before this output may change what they like, mask fields for instance, but not what the event is. One that is no event any more, or has
another event_id, device_id or timestamp than when `+"`schema_validate`"+` judged it (a mapping without `+"`root = this`"+` does that), is failed as
`+"`processing_failed`"+`, and its dead letter has the bytes that were judged.

A message that a processor has failed goes through the processors of `+"`dead_letter`"+`, on a copy, and what they make of it to its topic, in
the same requests as the healthy ones. A failure there fails the batch; without `+"`dead_letter`"+`, so does a failed message. An
outage of the log never makes a dead letter.

For other topics, keys, headers or clusters use `+"`kafka_franz`"+`; this output does one thing, at a lower cost.`).
		Fields(kafka.Fields()...).
		Field(service.NewStringField(eventLogFieldClientID).
			Description("How the client calls itself to the brokers.").Default("weir").Advanced()).
		Field(service.NewStringField(eventLogFieldTopic).
			Description("The topic of healthy events. It must exist: see `weir topics create`.")).
		Field(service.NewObjectField(eventLogFieldDeadLetter,
			service.NewStringField(eventLogFieldTopic).Description(
				"The topic of dead letters. Empty refuses failed messages, and with them their batch.").Default(""),
			service.NewStringField(eventLogFieldMaxBytes).Description(
				"The largest dead letter. Those beyond the topic of events' own limit are sent apart.").Default("8MiB").Advanced(),
			service.NewProcessorListField(eventLogFieldProcessors).Description(
				"What makes a dead letter of a failed message: `dead_letter`. A message that has failed after them fails the "+
					"batch.").Default([]any{}),
		).Description("Where messages go that a processor has failed.")).
		Field(service.NewStringEnumField(eventLogFieldCompression, "none", "lz4", "snappy", "zstd", "gzip").
			Description("How records are compressed. On one machine it costs more than it saves; where traffic between zones "+
				"costs it saves a third of it, and more the longer records linger.").Default(
			"none").Advanced()).
		Field(service.NewDurationField(eventLogFieldLinger).
			Description("How long a record may wait for others, so that they share a request.").Default("5ms").Advanced()).
		Field(service.NewDurationField(eventLogFieldTimeout).
			Description("How long a broker may take to write a request.").Default("10s").Advanced()).
		Field(service.NewStringField(eventLogFieldMaxBytes).
			Description("The largest batch of records in one partition; at most the topic's `max.message.bytes`.").Default(
			"1MB").Advanced()).
		Field(service.NewIntField(eventLogFieldMaxBuffered).
			Description("How many records may wait for the brokers. Beyond them, batches wait in the stream.").Default(
			100_000).Advanced()).
		Field(service.NewIntField(eventLogFieldMaxInFlight).
			Description("How many batches may wait for their acknowledgement at a time. Their records share requests.").Default(
			256)).
		Example("From the gate to the log", "What `schema_validate` fails becomes a dead letter; everything else is an event.", `
pipeline:
  processors:
    - schema_validate:
        url: file://schemas

output:
  event_log:
    seed_brokers: [ localhost:9092 ]
    topic: raw-events
    dead_letter:
      topic: dead-letter
      processors:
        - dead_letter:
            stage: ingest
`)
}

// Register adds the room's components.
func Register(env *service.Environment) error {
	return env.RegisterBatchOutput("event_log", outputSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			c, err := configFromParsed(conf, res.Logger())
			if err != nil {
				return nil, service.BatchPolicy{}, 0, fmt.Errorf("reading event_log: %w", err)
			}
			event.WitnessOf(res).Announce()
			o := newOutput(c)
			o.trace = trace.Of(res)
			return o, service.BatchPolicy{}, c.inFlight, nil
		})
}

// output is event_log.
type output struct {
	conf   config
	trace  *trace.Provider
	writes sync.Pool // *write

	mu     sync.RWMutex
	client *kgo.Client
	large  *kgo.Client // for dead letters that no batch of events could hold
}

func newOutput(c config) *output { return &output{conf: c} }

// Connect returns when a broker has answered.
func (o *output) Connect(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.client != nil {
		return nil
	}
	client, err := kgo.NewClient(o.conf.client(o.conf.maxBytes)...)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	large, err := kgo.NewClient(o.conf.client(o.conf.letterBytes)...)
	if err != nil {
		client.Close()
		return fmt.Errorf("opening the log: %w", err)
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		large.Close()
		said := fmt.Errorf("opening the log: %w", o.conf.cluster.Explain(err))
		if !kgo.IsRetryableBrokerErr(err) {
			return service.NewErrBackOff(said, 15*time.Second) // wrong credentials, most likely
		}
		return said
	}
	o.client, o.large = client, large
	return nil
}

// Close fails what has not been acknowledged. The engine calls it after the last
// batch has returned, or when it will wait no longer.
func (o *output) Close(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.client != nil {
		o.client.Close()
		o.large.Close()
		o.client, o.large = nil, nil
	}
	var errs []error
	for _, p := range o.conf.processors {
		errs = append(errs, p.Close(ctx))
	}
	return errors.Join(errs...)
}

var _ service.BatchOutput = (*output)(nil)
