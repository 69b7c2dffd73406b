package gate

import (
	"sync/atomic"
)

// admission counts what is in flight and refuses what is beyond the bounds. A
// request is in flight until the engine has acknowledged it, even when its
// client was answered before that: its memory is held that long.
type admission struct {
	limits   limits
	metrics  *metrics
	requests atomic.Int64
	bytes    atomic.Int64
}

func newAdmission(l limits, m *metrics) *admission { return &admission{limits: l, metrics: m} }

// hold is one request's share of what is in flight.
type hold struct {
	a        *admission
	bytes    int64
	released atomic.Bool
}

// enter admits one more request, without bytes yet.
func (a *admission) enter() (*hold, *refusal) {
	if n := a.requests.Add(1); n > int64(a.limits.inFlight) {
		a.requests.Add(-1)
		return nil, inFlightFull("requests", a.limits.inFlight)
	}
	a.show()
	return &hold{a: a}, nil
}

func (a *admission) show() {
	a.metrics.inFlight.Set(a.requests.Load())
	a.metrics.inFlightB.Set(a.bytes.Load())
}

// grow takes n more bytes, before they are allocated.
func (h *hold) grow(n int) *refusal {
	if total := h.a.bytes.Add(int64(n)); total > int64(h.a.limits.inFlightB) {
		h.a.bytes.Add(int64(-n))
		return inFlightFull("bytes", h.a.limits.inFlightB)
	}
	h.bytes += int64(n)
	return nil
}

// release gives everything back, once.
func (h *hold) release() {
	if h.released.CompareAndSwap(false, true) {
		h.a.bytes.Add(-h.bytes)
		h.a.requests.Add(-1)
		h.a.show()
	}
}
