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

// refusals tells what was refused: in a metric, in the log, and, of acts that
// would have changed something, in the audit log. Strangers cause refusals, as
// many as they like: each of the three is bounded, and none has a key's text.
type refusals struct {
	total     *service.MetricCounter // by reason
	tlsErrors *service.MetricCounter
	log       *flow.Burst
	failures  *flow.Burst
	recorder  *recorder
	now       func() time.Time

	mu     sync.Mutex
	left   float64 // entries that the audit log still takes
	at     time.Time
	missed int // refused acts that it has no entry of
}

// How many refused acts the audit log takes: so many at once, and then one a
// second, each of which says how many it has no entry of.
const (
	refusedBurst  = 30
	refusedPerSec = 1
)

// failuresPerSec is how many requests that weir could not answer are told each with
// its id and its cause; beyond them they are counted.
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

// refused is told of each request that its key does not let through.
func (r *refusals) refused(req *http.Request, id string, to apikey.Route, why apikey.Refusal) {
	if why.Reason == "" { // a request that is not valid
		return
	}
	r.count(why.Reason)
	if why.Reason != apikey.ReasonUnavailable { // failed says so, with the cause
		r.log.Note(why.Reason, why.Line(req.Method, req.URL.Path, req.RemoteAddr, id))
	}
	if to.Acts() && why.Reason != apikey.ReasonUnavailable && req.Method != http.MethodGet &&
		req.Method != http.MethodHead {
		r.enter(req, id, why)
	}
}

// failed is told of each request that weir could not answer, and why, if anybody
// said so.
func (r *refusals) failed(req *http.Request, id string, status int, why error) {
	line := fmt.Sprintf("%s %.200q was answered %d, as request %s", req.Method, req.URL.Path, status, id)
	if why != nil {
		line += ": " + httpx.Plain(why)
	}
	r.failures.Note(http.StatusText(status), line)
}

// enter puts a refused act into the audit log, without waiting for it: nothing
// was changed.
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
	default: // the log is far behind
		r.missed++
	}
}
