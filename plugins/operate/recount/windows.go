package recount

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/rollup"
)

// Schemas knows which metrics are declared now.
type Schemas interface {
	// UnknownMetrics returns the header weir_unknown_metrics that an event would get now; it
	// returns header for firmware without a schema.
	UnknownMetrics(firmware string, metrics []event.Metric, header string) string
}

// Windows collects stored events into windows of rollups, in memory.
type Windows struct {
	schemas   Schemas
	collector *rollup.Collector
	names     map[string]string // copies of names: the windows outlive the rows
}

// NewWindows returns an empty collection. Which metrics are unknown is asked of schemas, or, if it
// is nil, taken from the stored event.
func NewWindows(schemas Schemas) *Windows {
	return &Windows{schemas: schemas, collector: rollup.NewCollector(1024), names: map[string]string{}}
}

func (w *Windows) name(s string) string {
	own, ok := w.names[s]
	if !ok {
		own = strings.Clone(s)
		w.names[own] = own
	}
	return own
}

// Add counts an event with the metrics of canonical, or, if that is nil, with those that are
// stored.
func (w *Windows) Add(stored Event, canonical *service.Message) error {
	r := stored.Row
	e := event.Event{UUID: r.ID, Device: w.name(r.Device), Metrics: slices.Clone(r.Metrics)}
	if canonical != nil {
		value, err := canonical.AsBytes()
		if err == nil {
			e.Metrics = nil
			err = event.Parse(value, &e)
		}
		if err != nil {
			return fmt.Errorf("reading an event of device %s as it was mapped: %w", r.Device, err)
		}
		e.Device = w.name(e.Device)
	}
	for i := range e.Metrics {
		e.Metrics[i].Name, e.Metrics[i].Raw = w.name(e.Metrics[i].Name), nil
	}
	unknown := r.Unknown
	if w.schemas != nil {
		unknown = w.schemas.UnknownMetrics(r.Firmware, r.Metrics, r.Unknown)
	}
	w.collector.Add(w.name(r.Fleet), &e, time.UnixMicro(r.At), unknown, received(r), true)
	return nil
}

// Replace replaces the store's windows by these, which must have all their events. It returns how
// many were replaced, durably, and which were left because the store's window counts events that
// are not stored yet.
func (w *Windows) Replace(ctx context.Context, store *rollup.Store) (replaced int, left []Window, err error) {
	done, err := store.Replace(ctx, w.collector.Windows(), time.Now())
	for _, k := range done.Behind {
		left = append(left, Window{Fleet: k.Fleet, Device: k.Device, Bucket: time.Unix(k.Bucket, 0).UTC()})
	}
	return done.Windows, left, err
}

// Merge adds the events that the store's windows do not count yet, and returns how many these were.
// When it returns nil, all are durable.
func (w *Windows) Merge(ctx context.Context, store *rollup.Store) (events int64, err error) {
	done, err := store.Add(ctx, w.collector.Windows(), time.Now())
	return int64(done.Counted()), err
}
