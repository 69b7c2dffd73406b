// Package eventlog writes events to the log: valid ones to the topic of events, and failed ones, as dead letters, to a
// topic of their own.
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
		Summary("Writes events to a Kafka topic, and failed events, as dead letters, to another.").
		Description(`
A batch is acknowledged when all of it is durable: every replica in sync has each record, which is written idempotently. While the brokers
cannot be reached, batches wait. When a batch fails, some of it may have been written. Sending it again then writes duplicates, which are recognised by their event ids.

The key of a record is the device (metadata `+"`local_device`"+`, which `+"`schema_validate`"+` sets), hashed as Kafka's own clients do it, so that a
device's events stay in order. The value is the message's bytes. Its headers are the metadata whose names begin with `+"`weir_`"+`, and `+"`traceparent`"+`.

Processors before this output may change an event, for instance mask fields, but not its identity. A message that is no longer an event, or has
another event_id, device_id or timestamp than when `+"`schema_validate`"+` judged it (a mapping without `+"`root = this`"+` does that), fails with
`+"`processing_failed`"+`, and its dead letter has the bytes that were judged.

A copy of each message that a processor has failed goes through the processors of `+"`dead_letter`"+`, and the result is written to that topic, in
the same requests as the valid events. If these processors fail, the batch fails; without `+"`dead_letter`"+`, a failed message fails the batch. An
outage of the log never makes a dead letter.

For other topics, keys, headers or clusters use `+"`kafka_franz`"+`; this output does one thing, at a lower cost.`).
		Fields(kafka.Fields()...).
		Field(service.NewStringField(eventLogFieldClientID).
			Description("The name of the client at the brokers.").Default("weir").Advanced()).
		Field(service.NewStringField(eventLogFieldTopic).
			Description("The topic of valid events. It must exist: see `weir topics create`.")).
		Field(service.NewObjectField(eventLogFieldDeadLetter,
			service.NewStringField(eventLogFieldTopic).Description(
				"The topic of dead letters. If it is empty, a failed message fails its batch.").Default(""),
			service.NewStringField(eventLogFieldMaxBytes).Description(
				"The maximum size of a dead letter, such as 8MiB. One that is larger than `max_message_bytes` of events is "+
					"sent in a request of its own.").Default("8MiB").Advanced(),
			service.NewProcessorListField(eventLogFieldProcessors).Description(
				"The processors that make a dead letter of a failed message, such as `dead_letter`. A message that has "+
					"failed after them fails the batch.").Default([]any{}),
		).Description("What becomes of messages that a processor has failed.")).
		Field(service.NewStringEnumField(eventLogFieldCompression, "none", "lz4", "snappy", "zstd", "gzip").
			Description("How records are compressed. On one machine that costs more than it saves. Where traffic between "+
				"zones is paid for, it saves a third of it, and more with a longer `linger`.").Default(
			"none").Advanced()).
		Field(service.NewDurationField(eventLogFieldLinger).
			Description("How long a record may wait for others, so that they share a request; `0s` does not "+
				"wait.").Default("5ms").Advanced()).
		Field(service.NewDurationField(eventLogFieldTimeout).
			Description("How long the brokers may take to write a request. After it the request is sent "+
				"again.").Default("10s").Advanced()).
		Field(service.NewStringField(eventLogFieldMaxBytes).
			Description("The maximum size of a batch of records of one partition, such as 1MB: at most the topic's "+
				"`max.message.bytes`. An event that is larger fails its batch.").Default(
			"1MB").Advanced()).
		Field(service.NewIntField(eventLogFieldMaxBuffered).
			Description("The maximum number of records that wait for the brokers. Above it, batches wait in the "+
				"stream.").Default(
			100_000).Advanced()).
		Field(service.NewIntField(eventLogFieldMaxInFlight).
			Description("The maximum number of batches that wait for their acknowledgement at a time. Their records share "+
				"requests.").Default(
			256)).
		Example("From the gate to the log", "An event that `schema_validate` fails becomes a dead letter; all others are events.", `
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
	large  *kgo.Client // for dead letters that are larger than a batch of events may be
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

// Close fails the records that have not been acknowledged. The engine calls it after the last
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
