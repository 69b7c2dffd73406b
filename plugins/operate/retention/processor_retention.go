// Package retention keeps all stores in order, on one clock: it merges small
// objects, deletes what is old enough in every store, but nothing of a fleet
// that is held, and gives the space back. What a crash leaves is done by the
// next run.
package retention

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle"
	"weir/internal/platform/text"
)

// Register adds the room's component, which keeps the stores of the list.
func Register(env *service.Environment, list lifecycle.List) error {
	if err := list.Check(); err != nil {
		return fmt.Errorf("listing the stores: %w", err)
	}
	construct := func(conf *service.ParsedConfig, res *service.Resources) (service.Processor, error) {
		return newProcessor(conf, res, list)
	}
	if err := env.RegisterProcessor("retention", spec(list), construct); err != nil {
		return err
	}
	return env.RegisterProcessor("maintain", spec(list).Deprecated().
		Summary("The former name of the processor `retention`, which takes the same fields."), construct)
}

// processor is retention.
type processor struct {
	config
	list lifecycle.List
	res  *service.Resources

	rows, objects, bytes, merged, freed *service.MetricCounter
	heldRows, held, failing, succeeded  *service.MetricGauge
}

func newProcessor(conf *service.ParsedConfig, res *service.Resources, list lifecycle.List) (*processor, error) {
	c, err := newConfig(conf, list)
	if err != nil {
		return nil, err
	}
	m := res.Metrics()
	return &processor{
		config: c, list: list, res: res,
		rows:      m.NewCounter("weir_retention_removed_rows_total", "store"),
		objects:   m.NewCounter("weir_retention_removed_objects_total", "store"),
		bytes:     m.NewCounter("weir_retention_removed_bytes_total", "store"),
		merged:    m.NewCounter("weir_retention_merged_objects_total", "store"),
		freed:     m.NewCounter("weir_retention_freed_bytes_total", "store"),
		heldRows:  m.NewGauge("weir_retention_held_rows", "store"),
		held:      m.NewGauge("weir_retention_held_fleets"),
		failing:   m.NewGauge("weir_retention_failing_stores"),
		succeeded: m.NewGauge("weir_retention_last_success_seconds"),
	}, nil
}

// Process does one run, and makes its report the message. What the report says
// is deleted is deleted for good.
func (r *processor) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	now, wall, err := r.clock(msg)
	if err != nil {
		return nil, err
	}
	report, err := r.run(ctx, now, wall && !r.dryRun)
	r.count(report)
	raw, encoding := json.Marshal(report)
	if encoding != nil {
		return nil, fmt.Errorf("writing the report: %w", encoding)
	}
	msg.SetBytes(raw)
	if err != nil {
		msg.SetError(err) // with the report of what was done all the same
		r.res.Logger().Errorf("keeping the stores in order is tried again: %v", err)
	}
	return service.MessageBatch{msg}, nil
}

// clock returns the time of the run, and whether it is of the clock on the wall.
func (r *processor) clock(msg *service.Message) (now time.Time, wall bool, err error) {
	at, err := r.now.TryString(msg)
	if err != nil {
		return now, false, fmt.Errorf("reading field %s: %w", fieldNow, err)
	}
	if at == "" {
		return time.Now(), true, nil
	}
	now, ok := text.ParseTime(at)
	if !ok {
		return now, false, fmt.Errorf("reading field %s: %q is no RFC 3339 time with a zone", fieldNow, at)
	}
	return now, false, nil
}

func (r *processor) count(report *Report) {
	r.held.Set(int64(len(report.Held)))
	r.failing.Set(int64(report.Failed()))
	if report.Failed() == 0 {
		r.succeeded.Set(time.Now().Unix())
	}
	for _, s := range report.Stores {
		r.heldRows.Set(s.Kept, s.Store)
		r.merged.Incr(int64(s.Merged), s.Store)
		if !report.DryRun {
			r.rows.Incr(s.Rows, s.Store)
			r.objects.Incr(int64(s.Objects), s.Store)
			r.bytes.Incr(s.Bytes, s.Store)
		}
	}
	for _, f := range report.Freed {
		r.freed.Incr(f.Bytes, f.Store)
	}
}

// Close has nothing to close: a run opens what it needs.
func (r *processor) Close(context.Context) error { return nil }

var _ service.Processor = (*processor)(nil)
