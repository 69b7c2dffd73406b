package deadletter

import (
	"context"
	"errors"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/kafka"
)

// naming says which logs topics are. nil is of a config without brokers: then
// dead letters name no log.
type naming struct {
	logs *kafka.Logs
	log  *service.Logger
}

// newNaming reads where the log is.
func newNaming(parsed *service.ParsedConfig, log *service.Logger) (*naming, error) {
	cluster, err := kafka.FromParsed(parsed)
	if errors.Is(err, kafka.ErrNoBroker) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &naming{kafka.NewLogs(cluster, "weir-dead-letter-log"), log}, nil
}

const (
	logAge   = 5 * time.Second // how long an identity is taken as it was read
	logPause = time.Second     // how long a dead letter waits before it asks again
)

// of returns the names of topics' logs, "" for one that the brokers do not have
// any more. It waits for the brokers, so that a failure that is delivered again
// has the same id, and fails when weir is stopping.
func (n *naming) of(ctx context.Context, topics ...string) ([]string, error) {
	names := make([]string, len(topics))
	if n == nil {
		return names, nil
	}
	for said := false; ; {
		// What is known is told even when weir is stopping.
		known, err := n.logs.Of(context.WithoutCancel(ctx), time.Now().Add(-logAge), topics...)
		for i, log := range known {
			names[i] = log.String()
		}
		if err == nil {
			return names, nil
		}
		if !said {
			n.log.Warnf("dead letters wait: %v", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return names, err
		case <-time.After(logPause):
		}
	}
}

func (n *naming) close() {
	if n != nil {
		n.logs.Close()
	}
}
