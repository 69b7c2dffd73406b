package kafka

import (
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ClientLog logs the messages of a Kafka client, as warnings at most, because the client retries by itself.
type ClientLog struct{ To *service.Logger }

// Level returns the lowest level that is logged: warnings.
func (ClientLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log logs a message.
func (l ClientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	log := l.To.With(keyvals...)
	if level == kgo.LogLevelError {
		log.Error(msg)
	} else {
		log.Warn(msg)
	}
}
