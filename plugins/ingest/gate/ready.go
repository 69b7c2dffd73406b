package gate

import (
	"net/http"
	"sync/atomic"
	"time"

	"weir/internal/platform/httpx"
)

// readiness remembers whether the gate accepts any events. It is for load balancers, which should
// not react to short pressure; devices are told of that with Retry-After.
type readiness struct {
	since atomic.Int64 // first refusal for lack of room since an event was accepted, in Unix nanoseconds; 0: none
	last  atomic.Int64 // last such refusal
	why   atomic.Pointer[refusal]
}

// unreadyAfter is for how long everything must have been refused. When no refusal came for
// unreadyForget, it is not known whether the gate would still refuse.
const (
	unreadyAfter  = 10 * time.Second
	unreadyForget = 30 * time.Second
)

// refused notes a refusal, if it is one for lack of room.
func (s *readiness) refused(r *refusal, now time.Time) {
	switch r.name {
	case "backlog-full", "log-unavailable", "not-acknowledged", "too-many-in-flight":
		s.since.CompareAndSwap(0, now.UnixNano())
		s.last.Store(now.UnixNano())
		s.why.Store(r)
	}
}

// taken notes that events were accepted.
func (s *readiness) taken() {
	if s.since.Load() != 0 {
		s.since.Store(0)
	}
}

// reason returns why nothing has been accepted for a while; nil: the gate is ready. stopped tells
// that nothing would be accepted now.
func (s *readiness) reason(now time.Time, stopped bool) *refusal {
	since, last := s.since.Load(), s.last.Load()
	if since == 0 || now.UnixNano()-since < int64(unreadyAfter) || !stopped && now.UnixNano()-last > int64(unreadyForget) {
		return nil
	}
	return s.why.Load()
}

// serveReady answers 503 while the gate is stopping, or has accepted nothing for a while for lack
// of room.
func (g *gate) serveReady(w http.ResponseWriter, r *http.Request) int {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return g.refuse(w, wrongMethod("GET, HEAD"))
	}
	if g.isLeaving() {
		return g.refuse(w, leaving())
	}
	if why := g.ready.reason(time.Now(), g.admit.TakesNothing()); why != nil {
		return g.refuse(w, &refusal{name: "not-ready", status: http.StatusServiceUnavailable, title: "Nothing is taken now",
			detail: why.name + ": " + why.detail, after: max(why.after, time.Second)})
	}
	httpx.Document(w, []byte(`{"status":"ready"}`+"\n"))
	return http.StatusOK
}
