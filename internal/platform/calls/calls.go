// Package calls times what is asked of the servers that stores lie on: single
// calls, where outputs and stages time whole batches with their retries.
package calls

import (
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/meter"
)

// Meter is told of calls of one store. A nil Meter notes nothing: commands that
// end with their work have no metrics.
type Meter struct {
	Tell func(kind string, took time.Duration, failed bool)
}

// Of returns the meter of a store, with the kinds of its calls, which are to be few.
// Whatever component of a process asks, calls of a store and kind are one series:
// configs/service.yaml leaves out who asked.
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

// Note takes a call that began at a time and has ended.
func (m *Meter) Note(kind string, began time.Time, err error) {
	if m != nil {
		m.Tell(kind, time.Since(began), err != nil)
	}
}
