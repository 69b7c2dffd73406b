package kafka

import (
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ClientLog passes on what a client has to say: what it tries again by itself is
// worth a warning at most.
type ClientLog struct{ To *service.Logger }

// Level is what is passed on: warnings and errors.
func (ClientLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log writes one line.
func (l ClientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	log := l.To.With(keyvals...)
	if level == kgo.LogLevelError {
		log.Error(msg)
	} else {
		log.Warn(msg)
	}
}
