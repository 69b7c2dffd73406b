package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/conf"
	"weir/internal/platform/kafka"
	"weir/internal/platform/text"
)

const deadLetterFieldStage = "stage"

// metaFallbackError is set by the engine's output fallback on messages that its first output has
// refused.
const metaFallbackError = "fallback_error"

// headerPrefix is the prefix of metadata that becomes record headers.
const headerPrefix = "weir_"

func processorSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("0.1.0").
		Categories("Weir").
		Summary("Turns a failed message into a dead letter: an envelope with the reason, the original bytes and where "+
			"they came from.").
		Description(`
Use it in the output that failed messages are routed to: those that are `+"`errored()`"+`, for what an output refused is an outage. The reason
is what a processor of weir's marked the message with, or else the text of its error, with code `+"`processing_failed`"+`. The envelope follows
`+"`schemas/dead_letter/v1.json`"+`, and takes at most 8 MiB: of an original that does not fit it has the beginning, the length and the SHA-256; its id is the same whenever the same record fails at the same stage. Where brokers are given it names the log that the record lies in: the topic may be made anew before the dead letter is sent back.

The processor clears the message's error, tells the request that the event came with, if any, that it was rejected, and sets
metadata `+"`local_device`"+` to the device, or to the dead letter's id when no device can be read, as the record key.`).
		Field(service.NewStringField(deadLetterFieldStage).
			Description("Where the message failed: `ingest`, `raw`, `rollup`, `detect`, …; lower-case letters, digits and "+
				"`_`.")).
		Fields(kafka.OptionalFields("Addresses of the brokers of the log that the messages come from. With none, dead "+
			"letters do not name their log: sent back, their events are looked for in the raw store one by one.")...).
		Example("The failure path of a stream", "Messages that failed become dead letters; an outage of the store nacks the others, which are retried.", `
output:
  fallback:
    - reject_errored:
        raw_store:
          url: file:///var/lib/weir/raw
    - switch:
        cases:
          - check: errored()
            output:
              kafka_franz:
                seed_brokers: [ localhost:9092 ]
                topic: dead-letter
                key: ${! @local_device }
                metadata:
                  include_prefixes: [ weir_ ]
              processors:
                - dead_letter:
                    stage: raw
          - output:
              reject: ${! @fallback_error }
`)
}

// processor is the component dead_letter.
type processor struct {
	stage string
	logs  *naming
	count *service.MetricCounter
	now   func() time.Time
}

func newProcessor(parsed *service.ParsedConfig, res *service.Resources) (*processor, error) {
	var stage string
	if err := conf.Read(parsed, deadLetterFieldStage, &stage); err != nil {
		return nil, err
	}
	logs, err := newNaming(parsed, res.Logger())
	if err := conf.Checked(parsed, errors.Join(checkStage(stage), err)); err != nil {
		return nil, err
	}
	p := &processor{
		stage: stage, logs: logs, now: time.Now,
		count: res.Metrics().NewCounter("weir_dead_letter_events_total", "stage", "code"),
	}
	for _, code := range codes(stage) {
		p.count.Incr(0, stage, string(code))
	}
	return p, nil
}

// Process replaces the message by its envelope.
func (p *processor) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	original, err := msg.AsBytes()
	if err != nil {
		return nil, fmt.Errorf("reading the original bytes: %w", err)
	}
	rejection := rejectionOf(msg)
	event.RecordVerdict(msg, rejection)
	f := Failure{
		Stage: p.stage, Rejection: rejection, Original: original, Fleet: event.FleetOf(msg),
		Received: event.Meta(msg, event.HeaderReceivedAt), FailedAt: p.now(), Headers: map[string]string{},
	}
	if record, delivery, ok := event.CoordinatesOf(msg); ok {
		f.Record = &record
		if delivery != record {
			f.Delivery = &delivery
		}
		// When weir stops before the brokers answer, the dead letter names no log.
		names, _ := p.logs.of(ctx, record.Topic, delivery.Topic)
		f.RecordLog, f.DeliveryLog = names[0], names[1]
	}
	if v, ok := msg.MetaGetImmut(event.MetaIndex); ok {
		f.Index, _ = v.(int)
	}
	if err := msg.MetaWalkMut(func(key string, _ any) error { // most metadata is only for this process
		if strings.HasPrefix(key, headerPrefix) || key == event.HeaderTraceparent {
			f.Headers[key], _ = msg.MetaGet(key)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading headers: %w", err)
	}
	if id := event.RequestOf(msg); id != "" {
		f.Headers[event.HeaderRequest] = id
	}
	e := NewEnvelope(f)
	raw, err := text.JSON(e)
	if err != nil {
		return nil, fmt.Errorf("writing a dead letter: %w", err)
	}
	p.replace(msg, f.Headers, e, raw)
	p.count.Incr(1, p.stage, string(e.Code))
	return service.MessageBatch{msg}, nil
}

// replace makes the message the envelope, without an error. The headers of the failed record are
// in the envelope; the message keeps only those with the fleet, the time of receipt and the trace.
func (p *processor) replace(msg *service.Message, headers map[string]string, e *Envelope, raw []byte) {
	msg.SetBytes(raw)
	msg.SetError(nil)
	for key := range headers {
		switch value, _ := msg.MetaGet(key); key {
		case event.HeaderFleet, event.HeaderReceivedAt, event.HeaderTraceparent:
			if len(value) <= maxName {
				continue
			}
		}
		msg.MetaDelete(key)
	}
	for _, key := range []string{event.MetaCode, event.MetaErrors, event.MetaDuplicateOf, metaFallbackError} {
		msg.MetaDelete(key)
	}
	key := e.Device
	if key == "" {
		key = e.ID // spread over the partitions
	}
	msg.MetaSetMut(event.MetaDevice, key)
}

// rejectionOf returns why a message has failed.
func rejectionOf(msg *service.Message) *event.Rejection {
	if r := event.RejectionOf(msg); r != nil {
		return r
	}
	text := event.Meta(msg, metaFallbackError)
	if text == "" {
		text = "no reason was recorded"
	}
	return event.Reject(event.CodeProcessingFailed, "", text)
}

func (p *processor) Close(context.Context) error {
	p.logs.close()
	return nil
}

var _ service.Processor = (*processor)(nil)
