package deadletter

import (
	"context"
	"errors"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/kafka"
)

// naming names the logs of topics. nil is for a config without brokers: then dead letters name no
// log.
type naming struct {
	logs *kafka.Logs
	log  *service.Logger
}

// newNaming reads the addresses of the brokers.
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
	logAge   = 5 * time.Second // how long an identity is used before it is asked for again
	logPause = time.Second     // pause between two attempts
)

// of returns the names of topics' logs; "" for a topic that does not exist any more. It waits for
// the brokers, so that a failure that is delivered again has the same id. When ctx is done it
// returns an error, with the names known so far.
func (n *naming) of(ctx context.Context, topics ...string) ([]string, error) {
	names := make([]string, len(topics))
	if n == nil {
		return names, nil
	}
	for said := false; ; {
		// Known names are returned even when weir is stopping.
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
