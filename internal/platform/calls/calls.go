// Package calls measures single calls to the servers behind stores; outputs and stages measure whole batches
// including retries.
package calls

import (
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/meter"
)

// Meter records calls to one store. A nil Meter records nothing, for commands that end with their work and export no
// metrics.
type Meter struct {
	Tell func(kind string, took time.Duration, failed bool)
}

// Of returns the meter of a store, with the kinds of its calls (keep them few). All components of a process share one
// series per store and kind: configs/service.yaml drops the labels of the component.
func Of(res *service.Resources, store string, kinds ...string) *Meter {
	seconds := res.Metrics().NewTimer("weir_store_call_seconds", "store", "call")
	failures := res.Metrics().NewCounter("weir_store_call_failures_total", "store", "call")
	for _, kind := range kinds {
		seconds.Timing(meter.None, store, kind)
		failures.Incr(0, store, kind)
	}
	return &Meter{func(kind string, took time.Duration, failed bool) {
		seconds.Timing(took.Nanoseconds(), store, kind)
		if failed {
			failures.Incr(1, store, kind)
		}
	}}
}

// Note records a call that began at this time and has just ended. It may be called concurrently.
func (m *Meter) Note(kind string, began time.Time, err error) {
	if m != nil {
		m.Tell(kind, time.Since(began), err != nil)
	}
}
