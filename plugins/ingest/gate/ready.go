package gate

import (
	"net/http"
	"sync/atomic"
	"time"

	"weir/internal/platform/httpx"
)

// readiness remembers whether the gate takes anything at all. It is for load
// balancers, which had better not hear of short pressure: devices are told of
// that, with when to come again.
type readiness struct {
	since atomic.Int64 // the first refusal for lack of room since an event was taken, in Unix nanoseconds; 0 is none
	last  atomic.Int64 // the last one
	why   atomic.Pointer[refusal]
}

// How long everything must have been refused, and after which silence it is not
// known any more whether it still would be.
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

// taken notes that events were taken.
func (s *readiness) taken() {
	if s.since.Load() != 0 {
		s.since.Store(0)
	}
}

// reason returns why nothing has been taken for a while; nil: the gate is ready.
// stopped says that it would take nothing now.
func (s *readiness) reason(now time.Time, stopped bool) *refusal {
	since, last := s.since.Load(), s.last.Load()
	if since == 0 || now.UnixNano()-since < int64(unreadyAfter) || !stopped && now.UnixNano()-last > int64(unreadyForget) {
		return nil
	}
	return s.why.Load()
}

// serveReady answers 503 while the gate is stopping, or has taken nothing for a
// while for lack of room.
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
