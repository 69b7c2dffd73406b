package gate

import (
	"strconv"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// metrics of the gate. Labels are bounded: statuses, and names of this file's
// making; never a fleet, a device or a key.
type metrics struct {
	requests  *service.MetricCounter // by status
	refusals  *service.MetricCounter // by reason
	accepted  *service.MetricCounter
	rejected  *service.MetricCounter // by code
	keyErrors *service.MetricCounter
	tlsErrors *service.MetricCounter

	backlogErrors  *service.MetricCounter
	backlogRecords *service.MetricGauge // of the group furthest behind
	backlogSeconds *service.MetricGauge
	drain          *service.MetricGauge // records a second of that group
	flow           *service.MetricGauge // 0 takes everything, 1 less than is drained, 2 nothing

	inFlight  *service.MetricGauge
	inFlightB *service.MetricGauge
	streams   *service.MetricGauge
	seconds   *service.MetricTimer
}

func newMetrics(m *service.Metrics) *metrics {
	return &metrics{
		requests:  m.NewCounter("weir_gate_requests_total", "status"),
		refusals:  m.NewCounter("weir_gate_refusals_total", "reason"),
		accepted:  m.NewCounter("weir_gate_accepted_events_total"),
		rejected:  m.NewCounter("weir_gate_rejected_events_total", "code"),
		keyErrors: m.NewCounter("weir_gate_key_store_errors_total"),
		tlsErrors: m.NewCounter("weir_gate_tls_reload_errors_total"),

		backlogErrors:  m.NewCounter("weir_gate_backlog_errors_total"),
		backlogRecords: m.NewGauge("weir_gate_backlog_records"),
		backlogSeconds: m.NewGauge("weir_gate_backlog_seconds"),
		drain:          m.NewGauge("weir_gate_drain_records_per_second"),
		flow:           m.NewGauge("weir_gate_flow_state"),

		inFlight:  m.NewGauge("weir_gate_in_flight_requests"),
		streams:   m.NewGauge("weir_gate_open_streams"),
		inFlightB: m.NewGauge("weir_gate_in_flight_bytes"),
		seconds:   m.NewTimer("weir_gate_request_seconds"),
	}
}

func (m *metrics) answered(status int, start time.Time) {
	m.requests.Incr(1, strconv.Itoa(status))
	m.seconds.Timing(time.Since(start).Nanoseconds())
}
