package retention

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"weir/internal/platform/text"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Register adds the room's component, which keeps the stores of other rooms.
func Register(env *service.Environment, stores Stores) error {
	return env.RegisterProcessor("maintain", spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.Processor, error) {
			return newProcessor(conf, res, stores)
		})
}

// processor is maintain.
type processor struct {
	config
	stores Stores
	res    *service.Resources

	rows, objects, bytes, merged, freed *service.MetricCounter
	heldRows, held, failing, succeeded  *service.MetricGauge
}

func newProcessor(conf *service.ParsedConfig, res *service.Resources, stores Stores) (*processor, error) {
	c, err := newConfig(conf)
	if err != nil {
		return nil, err
	}
	m := res.Metrics()
	return &processor{
		config: c, stores: stores, res: res,
		rows:      m.NewCounter("weir_maintain_removed_rows_total", "store"),
		objects:   m.NewCounter("weir_maintain_removed_objects_total", "store"),
		bytes:     m.NewCounter("weir_maintain_removed_bytes_total", "store"),
		merged:    m.NewCounter("weir_maintain_merged_objects_total", "store"),
		freed:     m.NewCounter("weir_maintain_freed_bytes_total", "store"),
		heldRows:  m.NewGauge("weir_maintain_held_rows", "store"),
		held:      m.NewGauge("weir_maintain_held_fleets"),
		failing:   m.NewGauge("weir_maintain_failing_stores"),
		succeeded: m.NewGauge("weir_maintain_last_success_seconds"),
	}, nil
}

// Process does one run, and makes its report the message. What the report says
// is deleted is deleted for good.
func (m *processor) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	now, wall, err := m.clock(msg)
	if err != nil {
		return nil, err
	}
	report, err := m.run(ctx, now, wall && !m.dryRun)
	m.count(report)
	raw, encoding := json.Marshal(report)
	if encoding != nil {
		return nil, fmt.Errorf("writing the report: %w", encoding)
	}
	msg.SetBytes(raw)
	if err != nil {
		msg.SetError(err) // with the report of what was done all the same
		m.res.Logger().Errorf("Keeping the stores in order is tried again: %v", err)
	}
	return service.MessageBatch{msg}, nil
}

// clock returns the time of the run, and whether it is of the clock on the wall.
func (m *processor) clock(msg *service.Message) (now time.Time, wall bool, err error) {
	at, err := m.now.TryString(msg)
	if err != nil {
		return now, false, fmt.Errorf("reading field %s: %w", maintainFieldNow, err)
	}
	if at == "" {
		return time.Now(), true, nil
	}
	now, ok := text.ParseTime(at)
	if !ok {
		return now, false, fmt.Errorf("reading field %s: %q is no RFC 3339 time with a zone", maintainFieldNow, at)
	}
	return now, false, nil
}

func (m *processor) count(r *Report) {
	m.held.Set(int64(len(r.Held)))
	m.failing.Set(int64(r.Failed()))
	if r.Failed() == 0 {
		m.succeeded.Set(time.Now().Unix())
	}
	for _, s := range r.Stores {
		m.heldRows.Set(s.Kept, s.Store)
		m.merged.Incr(int64(s.Merged), s.Store)
		if !r.DryRun {
			m.rows.Incr(s.Rows, s.Store)
			m.objects.Incr(int64(s.Objects), s.Store)
			m.bytes.Incr(s.Bytes, s.Store)
		}
	}
	for _, f := range r.Freed {
		m.freed.Incr(f.Bytes, f.Store)
	}
}

func (m *processor) Close(context.Context) error { return nil }

var _ service.Processor = (*processor)(nil)
