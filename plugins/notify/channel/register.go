// Package channel sends notices to people by webhook and e-mail. Its outputs return a flow.Failure that tells the
// queue of notices whether and when to retry. It keeps no state: after a crash a notice is sent again under the same
// id.
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
