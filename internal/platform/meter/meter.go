// Package meter makes metrics that are there from the start. One that appears with
// its first event is no series before: rates miss that event, and alerts on it are
// blind.
package meter

import "github.com/redpanda-data/benthos/v4/public/service"

// None is a time that is no time: the exporter of weir makes the histogram it is
// told for, and notes nothing.
const None = -1

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

// Gauge makes a gauge without labels, at 0.
func Gauge(m *service.Metrics, name string) *service.MetricGauge {
	g := m.NewGauge(name)
	g.Set(0)
	return g
}

// Gauges makes a gauge with one label, at 0 for each of the values that are known.
func Gauges(m *service.Metrics, name, label string, values ...string) *service.MetricGauge {
	g := m.NewGauge(name, label)
	for _, value := range values {
		g.Set(0, value)
	}
	return g
}

// Timer makes a histogram without labels that has nothing yet.
func Timer(m *service.Metrics, name string) *service.MetricTimer {
	t := m.NewTimer(name)
	t.Timing(None)
	return t
}
