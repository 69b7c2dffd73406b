// Package meter creates metrics that exist from the start. A series that appears with its first event misses that
// event in rates, and alerts on it do not see it.
package meter

import "github.com/redpanda-data/benthos/v4/public/service"

// None is a duration that weir's exporter does not record: it only creates the histogram.
const None = -1

// Counter creates a counter without labels, at 0.
func Counter(m *service.Metrics, name string) *service.MetricCounter {
	c := m.NewCounter(name)
	c.Incr(0)
	return c
}

// Counters creates a counter with one label, at 0 for each value that is known in advance.
func Counters(m *service.Metrics, name, label string, values ...string) *service.MetricCounter {
	c := m.NewCounter(name, label)
	for _, value := range values {
		c.Incr(0, value)
	}
	return c
}

// Gauge creates a gauge without labels, at 0.
func Gauge(m *service.Metrics, name string) *service.MetricGauge {
	g := m.NewGauge(name)
	g.Set(0)
	return g
}

// Gauges creates a gauge with one label, at 0 for each value that is known in advance.
func Gauges(m *service.Metrics, name, label string, values ...string) *service.MetricGauge {
	g := m.NewGauge(name, label)
	for _, value := range values {
		g.Set(0, value)
	}
	return g
}

// Timer creates an empty histogram without labels.
func Timer(m *service.Metrics, name string) *service.MetricTimer {
	t := m.NewTimer(name)
	t.Timing(None)
	return t
}
