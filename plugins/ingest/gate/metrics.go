package gate

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/listen"
	"weir/internal/platform/meter"
	"weir/plugins/ingest/gate/admission"
)

// metrics of the gate. Labels are bounded: statuses, and names from this package; never a fleet, a
// device or a key.
//
// Counts of requests are summed here and passed to the engine a few times a second, because the
// engine looks up a metric by its labels each time.
type metrics struct {
	byStatus [600]atomic.Int64
	taken    atomic.Int64
	stop     func()
	running  bool

	requests  *service.MetricCounter // by status
	refusals  *service.MetricCounter // by reason
	accepted  *service.MetricCounter
	rejected  *service.MetricCounter // by code
	keyErrors *service.MetricCounter
	tlsErrors *service.MetricCounter

	inFlight  *service.MetricGauge
	inFlightB *service.MetricGauge
	streams   *service.MetricGauge
	seconds   *service.MetricTimer // by outcome
}

func newMetrics(m *service.Metrics) *metrics {
	own := &metrics{
		stop: func() {},

		requests:  m.NewCounter("weir_gate_requests_total", "status"),
		refusals:  m.NewCounter("weir_gate_refusals_total", "reason"),
		accepted:  meter.Counter(m, "weir_gate_accepted_events_total"),
		rejected:  m.NewCounter("weir_gate_rejected_events_total", "code"),
		keyErrors: meter.Counter(m, "weir_gate_key_store_errors_total"),
		tlsErrors: meter.Counter(m, "weir_gate_tls_reload_errors_total"),

		inFlight:  meter.Gauge(m, "weir_gate_in_flight_requests"),
		streams:   meter.Gauge(m, "weir_gate_open_streams"),
		inFlightB: meter.Gauge(m, "weir_gate_in_flight_bytes"),
		seconds:   m.NewTimer("weir_gate_request_seconds", "outcome"),
	}
	for _, status := range []int{http.StatusAccepted, http.StatusMultiStatus, http.StatusBadRequest,
		http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		own.requests.Incr(0, strconv.Itoa(status))
	}
	for _, outcome := range []string{outcomeJudged, outcomeFailed} {
		own.seconds.Timing(meter.None, outcome)
	}
	for _, reason := range []string{apikey.ReasonUnauthorized, apikey.ReasonForbidden, apikey.ReasonUnavailable,
		listen.ReasonConns, listen.ReasonPerAddress} {
		own.refusals.Incr(0, reason)
	}
	for _, code := range []event.Code{event.CodeInvalidJSON, event.CodeInvalidEvent, event.CodeEventTooLarge,
		event.CodeDeviceForbidden, event.CodeTooManyDevices, event.CodeBlocked, event.CodeUnknownFirmware,
		event.CodeSchemaViolation, event.CodeStale, event.CodeConsentDenied, event.CodeQuarantined,
		event.CodeProcessingFailed} {
		own.rejected.Incr(0, string(code))
	}
	return own
}

// Outcomes of requests whose time is measured.
const (
	outcomeJudged = "judged" // weir has decided on each of its events
	outcomeFailed = "failed" // weir could not answer it
)

// answered counts an answer. It measures the time only of requests whose events were judged, or on
// which weir failed: quick refusals of strangers, or of senders that are held back, would improve
// the quantiles beyond what devices see.
func (m *metrics) answered(status int, start time.Time) {
	m.byStatus[status].Add(1)
	outcome := outcomeJudged
	switch {
	case status < http.StatusBadRequest, status == http.StatusBadRequest:
	case status >= http.StatusInternalServerError:
		outcome = outcomeFailed
	default:
		return
	}
	m.seconds.Timing(time.Since(start).Nanoseconds(), outcome)
}

// tellEvery is how often counts are passed to the engine.
const tellEvery = 200 * time.Millisecond

// start passes counts to the engine until stop is called, which passes the rest.
func (m *metrics) start(inFlight func() admission.Load) {
	if m.running {
		return
	}
	m.running = true
	stop := make(chan struct{})
	var done sync.WaitGroup
	m.stop = sync.OnceFunc(func() { close(stop); done.Wait() })
	done.Go(func() {
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.tell(inFlight())
			case <-stop:
				m.tell(inFlight())
				return
			}
		}
	})
}

func (m *metrics) tell(now admission.Load) {
	m.inFlight.Set(int64(now.Requests))
	m.inFlightB.Set(int64(now.Bytes))
	if n := m.taken.Swap(0); n > 0 {
		m.accepted.Incr(n)
	}
	for status := range m.byStatus {
		if m.byStatus[status].Load() > 0 {
			m.requests.Incr(m.byStatus[status].Swap(0), strconv.Itoa(status))
		}
	}
}
