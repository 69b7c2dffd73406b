package api

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/control/auditlog"
	"weir/internal/platform/flow"
	"weir/internal/platform/httpx"
	"weir/internal/platform/listen"
	"weir/internal/platform/meter"
)

const reasonQueries = "too-many-queries"

// refusals reports refused requests: in a metric, in the log, and in the audit log if they would have changed
// something. Anybody can cause any number of refusals, so each output is limited. None contains a key's text.
type refusals struct {
	total     *service.MetricCounter // by reason
	tlsErrors *service.MetricCounter
	log       *flow.Burst
	failures  *flow.Burst
	recorder  *recorder
	now       func() time.Time

	mu     sync.Mutex
	left   float64 // entries that the rate limit still allows
	at     time.Time
	missed int // refused acts without an entry
}

// Rate limit of refused acts in the audit log: a burst, then one a second. Each entry says how many acts before it
// have none.
const (
	refusedBurst  = 30
	refusedPerSec = 1
)

// failuresPerSec is how many failed requests per second are logged with id and cause; further ones are only counted.
const failuresPerSec = 10

func newRefusals(m *service.Metrics, logger *service.Logger, recorder *recorder) *refusals {
	r := &refusals{
		total:     m.NewCounter("weir_api_refusals_total", "reason"),
		tlsErrors: meter.Counter(m, "weir_api_tls_reload_errors_total"),
		log: flow.NewBurst(time.Second, func(text string) {
			logger.Warn(text)
		}), failures: flow.NewBursts(time.Second, failuresPerSec, func(text string) {
			logger.Warn(text)
		}), recorder: recorder, now: time.Now, left: refusedBurst,
	}
	for _, reason := range []string{apikey.ReasonUnauthorized, apikey.ReasonForbidden, apikey.ReasonUnavailable,
		reasonQueries,
		listen.ReasonConns, listen.ReasonPerAddress} {
		r.total.Incr(0, reason)
	}
	r.tlsErrors.Incr(0)
	return r
}

func (r *refusals) count(reason string) { r.total.Incr(1, reason) }

// refused is called for each request that is refused because of its key.
func (r *refusals) refused(req *http.Request, id string, to apikey.Route, why apikey.Refusal) {
	if why.Reason == "" { // a malformed request
		return
	}
	r.count(why.Reason)
	if why.Reason != apikey.ReasonUnavailable { // failed logs those, with the cause
		r.log.Note(why.Reason, why.Line(req.Method, req.URL.Path, req.RemoteAddr, id))
	}
	if to.Acts() && why.Reason != apikey.ReasonUnavailable && req.Method != http.MethodGet &&
		req.Method != http.MethodHead {
		r.enter(req, id, why)
	}
}

// failed is called for each request that was answered with 500 or more; why may be nil.
func (r *refusals) failed(req *http.Request, id string, status int, why error) {
	line := fmt.Sprintf("%s %.200q was answered %d, as request %s", req.Method, req.URL.Path, status, id)
	if why != nil {
		line += ": " + httpx.Plain(why)
	}
	r.failures.Note(http.StatusText(status), line)
}

// enter adds a refused act to the audit log without waiting for it, since nothing was changed.
func (r *refusals) enter(req *http.Request, id string, why apikey.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if !r.at.IsZero() {
		r.left = min(refusedBurst, r.left+now.Sub(r.at).Seconds()*refusedPerSec)
	}
	if r.at = now; r.left < 1 {
		r.missed++
		return
	}
	a := auditlog.Act{ID: uuid.NewString(), At: now.UTC(), Key: why.KeyID, User: why.Person, Fleet: why.Fleet,
		Method: req.Method, Path: auditlog.Text(req.URL.Path),
		From: req.RemoteAddr, Status: why.Status(),
		Detail: map[string]any{"detail": auditlog.Text(why.Detail), detailRequest: id}}
	if r.missed > 0 {
		a.Detail["detail"] = fmt.Sprintf("%s; %d refused acts before it have no entry", a.Detail["detail"], r.missed)
	}
	select {
	case r.recorder.acts <- pendingAct{act: a, kept: make(chan error, 1)}:
		r.left--
		r.missed = 0
	default: // the stream is far behind
		r.missed++
	}
}
