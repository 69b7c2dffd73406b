package consumer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
	"weir/internal/platform/trace"
)

// pingTimeout bounds the first request to the brokers. refusedPause is the pause before the next attempt when they
// refused the connection.
const pingTimeout, refusedPause = 20 * time.Second, 10 * time.Second

// input is the input log_input. It connects once: the reader's client reconnects by itself when brokers fail and
// return.
type input struct {
	config
	cluster kafka.Cluster
	log     *service.Logger
	lag     func(records int64, topicAndPartition ...string)
	trace   *trace.Provider

	mu     sync.Mutex
	reader *reader
	closed bool
}

// Connect joins the group once a broker answers.
func (in *input) Connect(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.closed:
		return service.ErrEndOfInput
	case in.reader != nil:
		return nil
	}
	if err := in.ping(ctx); err != nil {
		return err
	}
	r, err := read(in.config, in.cluster, in.log)
	if err != nil {
		return fmt.Errorf("reading the log as group %s: %w", in.group, err)
	}
	r.trace = in.trace
	r.start(in.lag)
	in.reader = r
	return nil
}

// ping uses a client of its own, because one with a group would join the group.
func (in *input) ping(ctx context.Context) error {
	client, err := kgo.NewClient(append(in.cluster.Options(in.group), kgo.WithLogger(kafka.ClientLog{To: in.log}))...)
	if err != nil {
		return fmt.Errorf("reading the log as group %s: %w", in.group, err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err = client.Ping(ctx); err == nil {
		return nil
	}
	said := fmt.Errorf("reaching the log as group %s: %w", in.group, in.cluster.Explain(err))
	if ctx.Err() == nil && !kgo.IsRetryableBrokerErr(err) {
		return service.NewErrBackOff(said, refusedPause)
	}
	return said
}

// ReadBatch returns a batch of messages of one partition.
func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	in.mu.Lock()
	r := in.reader
	in.mu.Unlock()
	if r == nil {
		return nil, nil, service.ErrNotConnected
	}
	return r.next(ctx)
}

// Close leaves the group. What is acknowledged has been committed when it returns.
func (in *input) Close(ctx context.Context) error {
	in.mu.Lock()
	r := in.reader
	in.reader, in.closed = nil, true
	in.mu.Unlock()
	if r == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.close()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leaving group %s: %w", in.group, ctx.Err())
	}
}
