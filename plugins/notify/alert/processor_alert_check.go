package alert

import (
	"context"
	"errors"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

func checkSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Marks messages that are not alerts, so that they can be routed to the dead letters.").
		Description(`
A message that does not match `+"`schemas/alert/v1.json`"+` is marked as failed, with code `+"`invalid_json` or `invalid_event`"+`. Nothing is changed or dropped.`).
		Example("Before the store", "A message that is not an alert can never be stored.", `
pipeline:
  processors:
    - label: check
      alert_check: {}
`)
}

// check implements the processor alert_check.
type check struct{}

// Process marks a message that is not a valid alert as rejected.
func (check) Process(_ context.Context, msg *service.Message) (service.MessageBatch, error) {
	raw, err := msg.AsBytes()
	if err != nil {
		return nil, err
	}
	if _, err := ParseRecord(raw); err != nil {
		var r *event.Rejection
		if !errors.As(err, &r) {
			return nil, err
		}
		event.MarkRejected(msg, r)
	}
	return service.MessageBatch{msg}, nil
}

// Close does nothing.
func (check) Close(context.Context) error { return nil }

var _ service.Processor = check{}
