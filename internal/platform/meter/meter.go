// Package meter makes counters that are there from the start. A counter that
// appears with its first event is no series before: rates miss that event, and
// alerts on it are blind.
package meter

import "github.com/redpanda-data/benthos/v4/public/service"

// Counter makes a counter without labels, at 0.
func Counter(m *service.Metrics, name string) *service.MetricCounter {
	c := m.NewCounter(name)
	c.Incr(0)
	return c
}

// Counters makes a counter with one label, at 0 for each of the values that are
// known before the first event.
func Counters(m *service.Metrics, name, label string, values ...string) *service.MetricCounter {
	c := m.NewCounter(name, label)
	for _, value := range values {
		c.Incr(0, value)
	}
	return c
}
