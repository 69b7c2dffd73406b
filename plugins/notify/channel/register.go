// Package channel sends notices to people: over webhooks and by e-mail. An output
// of it returns a flow.Failure, which tells the queue of notices whether and when
// to try again. It keeps nothing: a crash leaves a notice that is sent again,
// under the same id.
package channel

import (
	"errors"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Register adds the room's components.
func Register(env *service.Environment) error {
	return errors.Join(
		env.RegisterOutput("alert_webhook", webhookSpec(),
			func(parsed *service.ParsedConfig, _ *service.Resources) (service.Output, int, error) {
				out, err := newWebhook(parsed)
				return out, 1, err
			}),
		env.RegisterOutput("alert_email", emailSpec(),
			func(parsed *service.ParsedConfig, _ *service.Resources) (service.Output, int, error) {
				out, err := newEmail(parsed)
				return out, 1, err
			}),
	)
}
