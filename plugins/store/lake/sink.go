package lake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/conf"
)

// The fields of an output that writes to a store.
const (
	fieldURL     = "url"
	fieldRecall  = "recall"
	fieldTimeout = "timeout"
)

// Sink is a store to which an output writes: its config and, after Connect, the open store and the
// memory of what was written to it.
type Sink struct {
	URL    string
	Store  *Store  // nil until Connect
	Memory *Memory // nil until Connect

	recall, timeout time.Duration
	res             *service.Resources
	release         func()
}

// SinkFields returns the fields that ReadSink reads.
func SinkFields(examples ...any) []*service.ConfigField {
	return []*service.ConfigField{
		service.NewStringField(fieldURL).Secret().
			Description("The store: `file:///abs/dir`, `s3://bucket/prefix?region=…` or `mem://`.").
			Examples(examples...),
		service.NewDurationField(fieldRecall).
			Description("How long after it was written a record may be delivered again: the retention of the log, and some " +
				"more. What was written longer ago is not recognised; a reader still sees it once.").
			Default("5h").Advanced(),
		service.NewDurationField(fieldTimeout).
			Description("How long writing one object may take.").
			Default("1m").Advanced(),
	}
}

// ReadSink reads the config of a sink. It opens nothing.
func ReadSink(parsed *service.ParsedConfig, res *service.Resources) (*Sink, error) {
	s := &Sink{res: res}
	return s, conf.Read(parsed, fieldURL, URL(&s.URL), fieldRecall, conf.NotNegative(&s.recall),
		fieldTimeout, conf.Positive(&s.timeout))
}

// Connect opens the store, if it is not open, and reads what was written to it within recall.
func (s *Sink) Connect(ctx context.Context, now time.Time) error {
	if s.Store == nil {
		store, release, err := Shared(ctx, s.res, s.URL)
		if err != nil {
			return err
		}
		s.Store, s.release = store, release
	}
	memory := NewMemory(s.Store, s.recall)
	if err := memory.Load(ctx, now); err != nil {
		return fmt.Errorf("reading which records are stored: %w", err)
	}
	s.Memory = memory
	return nil
}

var errTimeout = errors.New("the store did not answer in time")

// Put is Memory.Put with the timeout of the config.
func (s *Sink) Put(ctx context.Context, knew *tombstone.Set, name Name, table *Table, rows int, options Options,
	coverage *Coverage, columns Columns) (size int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	size, err = s.Memory.Put(ctx, knew, name, table, rows, options, coverage, columns)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errTimeout) {
		return 0, fmt.Errorf("%w after %s: %w", cause, s.timeout, err)
	}
	return size, err
}

// Close releases the store. It may be called more than once, and before Connect.
func (s *Sink) Close() {
	if s.release != nil {
		s.release()
		s.Store, s.release = nil, nil
	}
}
