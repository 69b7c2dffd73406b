// Package admission decides which requests the gate accepts: by what is in flight, by the quota of
// their fleet, and by how far the readers of the log are behind.
package admission

import (
	"math/rand/v2"
	"sync"
	"time"

	"weir/internal/platform/flow"
)

// Limits bound what is in flight.
type Limits struct {
	Requests int
	Bytes    int
}

// Load is what is in flight.
type Load struct{ Requests, Bytes, Events int }

// Refusal is why a request is not admitted now. None of its events were accepted.
type Refusal struct {
	Name   string // name of the bound in problems and metrics
	Title  string
	Detail string
	After  time.Duration // how long to wait before a retry, with jitter
	Soon   time.Duration // after which there may be room, for streams that wait in the gate
	Extra  map[string]any
}

func (r *Refusal) Error() string { return r.Name + ": " + r.Detail }

// Admission decides whether a request may come in: by what is in flight, by its fleet's quota, and
// by how far the readers of the log are behind. A request is in flight until the engine has
// acknowledged it, even if its client was answered before, because its memory is held until then.
// It is safe for concurrent use.
type Admission struct {
	limits Limits
	quotas Quotas
	now    func() time.Time
	jitter func() float64 // in [0,1)

	mu       sync.Mutex
	requests int
	bytes    int
	fleets   map[string]*fleet
	active   int           // fleets seen within fleetIdle, at least 1
	turnover time.Duration // moving average of how long a request is in flight: how soon room comes
	backlog  Backlog
	flying   int        // events in flight
	line     *flow.Line // the same count, for other components of the process
	fresh    int        // events admitted that the last reading of the backlog cannot include
}

// fairness bounds a fleet to this many times the room that is left, so that others always find
// room: a fleet alone may fill four fifths.
const fairness = 4

// fleetIdle is how long a fleet counts as active after its last request.
const fleetIdle = 10 * time.Second

// New returns an Admission with these limits and quotas. It also counts the events in flight in
// line.
func New(l Limits, q Quotas, line *flow.Line) *Admission {
	return &Admission{limits: l, quotas: q, now: time.Now, jitter: rand.Float64, fleets: map[string]*fleet{}, active: 1,
		line: line}
}

// Hold is one request's share of what is in flight.
type Hold struct {
	a        *Admission
	name     string
	fleet    *fleet
	since    time.Time
	bytes    int
	events   int // charged to the quota
	released bool
}

// Enter admits one more request of a fleet, before its body is read.
func (a *Admission) Enter(name string) (*Hold, *Refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.fleets[name]
	if f == nil {
		f = &fleet{}
		a.fleets[name] = f
	}
	now := a.now()
	f.seen = now
	free := a.limits.Requests - a.requests
	if free <= 0 {
		return nil, inFlightFull("requests", a.limits.Requests, a.spread(a.turnover))
	}
	if f.requests >= fairness*free {
		return nil, fleetFull("requests", f.requests, a.spread(a.turnover))
	}
	if ref := a.allowed(name, f, now); ref != nil {
		return nil, ref
	}
	a.requests++
	f.requests++
	return &Hold{a: a, name: name, fleet: f, since: now}, nil
}

// Grow reserves n more bytes, before they are allocated.
func (h *Hold) Grow(n int) *Refusal {
	h.a.mu.Lock()
	defer h.a.mu.Unlock()
	free := h.a.limits.Bytes - h.a.bytes
	if n > free {
		return inFlightFull("bytes", h.a.limits.Bytes, h.a.spread(h.a.turnover))
	}
	if h.fleet.bytes+n > fairness*(free-n) && h.fleet.bytes > 0 {
		return fleetFull("bytes", h.fleet.bytes, h.a.spread(h.a.turnover))
	}
	h.a.bytes += n
	h.fleet.bytes += n
	h.bytes += n
	return nil
}

// Shrink returns n bytes that are no longer in use.
func (h *Hold) Shrink(n int) {
	h.a.mu.Lock()
	defer h.a.mu.Unlock()
	h.drop(n)
}

func (h *Hold) drop(n int) {
	h.a.bytes -= n
	h.fleet.bytes -= n
	h.bytes -= n
}

// Charge takes n events from the fleet's quota and its share, or refuses them all.
func (h *Hold) Charge(n int) *Refusal {
	h.a.mu.Lock()
	defer h.a.mu.Unlock()
	if ref := h.a.allowed(h.name, h.fleet, h.a.now()); ref != nil {
		return ref
	}
	h.events = n
	h.a.flying += n
	h.a.line.Add(n)
	h.a.fresh += n
	h.fleet.quota.tokens -= float64(n)
	h.fleet.share.tokens -= float64(n)
	return nil
}

// Refund returns the charged events, because they were not accepted after all.
func (h *Hold) Refund() {
	h.a.mu.Lock()
	defer h.a.mu.Unlock()
	h.fleet.quota.tokens += float64(h.events)
	h.fleet.share.tokens += float64(h.events)
	h.a.fresh = max(0, h.a.fresh-h.events)
	if !h.released {
		h.a.flying -= h.events
		h.a.line.Add(-h.events)
	}
	h.events = 0
}

// Release ends the request's share of what is in flight. Only the first call counts.
func (h *Hold) Release() {
	h.a.mu.Lock()
	defer h.a.mu.Unlock()
	if h.released {
		return
	}
	h.released = true
	h.a.turnover += (h.a.now().Sub(h.since) - h.a.turnover) / 16
	h.a.requests--
	h.a.flying -= h.events
	h.a.line.Add(-h.events)
	h.fleet.requests--
	h.drop(h.bytes)
}

// allowed checks the quota and the backlog. The caller holds the lock.
func (a *Admission) allowed(name string, f *fleet, now time.Time) *Refusal {
	if q := a.quotas.of(name); q.Rate > 0 {
		if f.quota.fill(now, q.Rate, q.Burst); f.quota.tokens <= 0 {
			wait := f.quota.wait(q.Rate)
			return quotaSpent(q, a.spread(wait)).within(wait)
		}
	}
	b := a.backlog.ahead(a.fresh)
	if b.state == flowing {
		f.share = bucket{}
		return nil
	}
	rate := b.admitted() / float64(max(1, a.active))
	if rate > 0 && b.state != stopped {
		if f.share.fill(now, rate, rate); f.share.tokens > 0 {
			return nil
		}
		wait := f.share.wait(rate)
		return backlogFull(b, a.spread(max(b.relief(), wait))).within(wait)
	}
	return backlogFull(b, a.spread(b.relief())).within(b.relief())
}

// spread rounds up to whole seconds, at least one, and adds up to half again and
// at least up to two, so that those refused do not come back in one wave.
func (a *Admission) spread(d time.Duration) time.Duration {
	whole := int((max(time.Second, min(d, maxRetryAfter)) + time.Second - 1) / time.Second)
	return time.Duration(whole+int(a.jitter()*float64(max(3, whole/2+1)))) * time.Second
}

const maxRetryAfter = time.Minute

// Measured sets the latest measurement of the backlog, and forgets idle fleets.
func (a *Admission) Measured(b Backlog) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.backlog, a.fresh = b, a.flying
	a.sweep()
}

func (a *Admission) sweep() {
	now := a.now()
	a.active = 0
	for name, f := range a.fleets {
		switch idle := now.Sub(f.seen); {
		case idle <= fleetIdle:
			a.active++
		case f.requests == 0 && f.full(a.quotas.of(name), now):
			delete(a.fleets, name)
		}
	}
}

// full tells whether the fleet's quota is unused, so that forgetting the fleet changes nothing.
func (f *fleet) full(q Quota, now time.Time) bool {
	if q.Rate > 0 {
		f.quota.fill(now, q.Rate, q.Burst)
	}
	return q.Rate == 0 || f.quota.tokens >= q.Burst
}

// QuotaOf returns a fleet's quota and what is left of it, for the RateLimit fields. ok is false if
// it has none.
func (a *Admission) QuotaOf(name string) (q Quota, left float64, ok bool) {
	if q = a.quotas.of(name); q.Rate == 0 {
		return q, 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.fleets[name]; f != nil {
		f.quota.fill(a.now(), q.Rate, q.Burst)
		return q, max(0, f.quota.tokens), true
	}
	return q, q.Burst, true
}

// InFlight returns what is in flight.
func (a *Admission) InFlight() Load {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Load{Requests: a.requests, Bytes: a.bytes, Events: a.flying}
}

// TakesNothing tells whether the backlog stops all requests now.
func (a *Admission) TakesNothing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.backlog.ahead(a.fresh).state == stopped
}

// More tells whether more than n requests are in flight.
func (a *Admission) More(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests > n
}

// within sets after which time there may be room.
func (r *Refusal) within(d time.Duration) *Refusal {
	r.Soon = d
	return r
}

func tooMany(name, title, detail string, after time.Duration, extra map[string]any) *Refusal {
	return &Refusal{Name: name, Title: title, Detail: detail + ": nothing of this request was taken", After: after,
		Extra: extra}
}
