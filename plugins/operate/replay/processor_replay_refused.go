package replay

import (
	"context"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

func refusedSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Reports to the replay job of a message that the message has failed again.").
		Description(`
Put it into the output that messages of the input `+"`replay_jobs`"+` are routed to when they are `+"`errored()`"+`, before it drops them. The dead
letter that the message came from stays one, with the new reason noted beside it.`).
		Example("The failure path of the replay stream", "", `
output:
  switch:
    cases:
      - check: errored()
        output:
          drop: {}
          processors:
            - replay_refused: {}
`)
}

// refused is replay_refused.
type refused struct{}

// Process notes the verdict and clears the error.
func (refused) Process(_ context.Context, msg *service.Message) (service.MessageBatch, error) {
	why := event.RejectionOf(msg)
	if why == nil {
		why = event.Reject(event.CodeProcessingFailed, "", "no reason was recorded")
	}
	event.RecordVerdict(msg, why)
	msg.SetError(nil)
	return service.MessageBatch{msg}, nil
}

func (refused) Close(context.Context) error { return nil }
