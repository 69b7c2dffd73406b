package gate

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"weir/internal/platform/httpx"
	"weir/plugins/ingest/gate/admission"
)

// refusal is why a request as a whole is not accepted. None of its events is stored, except that
// after notAcknowledged some may be.
type refusal struct {
	name   string // the problem type, and the label of the metric
	status int
	title  string
	detail string
	after  time.Duration // how long to wait before a retry; 0: do not retry
	soon   time.Duration // after which there may be room, for streams that wait in the gate
	extra  map[string]any
	allow  string // methods, for 405
	accept string // encodings, for 415
	close  bool   // close the connection
	login  bool   // ask for a key (WWW-Authenticate)
}

func (r *refusal) Error() string { return r.name + ": " + r.detail }

// retryAfter is the header's value: whole seconds, rounded up, at least 1.
func (r *refusal) retryAfter() int { return max(1, int((r.after+time.Second-1)/time.Second)) }

func (r *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	if r.after > 0 {
		h.Set("Retry-After", strconv.Itoa(r.retryAfter()))
	}
	if r.allow != "" {
		h.Set("Allow", r.allow)
	}
	if r.accept != "" {
		h.Set("Accept-Encoding", r.accept)
	}
	if r.close {
		h.Set("Connection", "close")
	}
	if r.login {
		h.Set("WWW-Authenticate", `Bearer realm="weir"`)
	}
	httpx.Write(w, r.problem())
}

// problem is the refusal as a body. It repeats Retry-After, for protocols that
// have no headers.
func (r *refusal) problem() httpx.Problem {
	p := httpx.Problem{Type: r.name, Status: r.status, Title: r.title, Detail: r.detail, Extra: map[string]any{}}
	maps.Copy(p.Extra, r.extra)
	if r.after > 0 {
		p.Extra["retry_after"] = r.retryAfter()
	}
	return p
}

// keysAgain is when to retry while keys cannot be checked.
const keysAgain = 5 * time.Second

// full converts a refusal of the admission; nil stays nil.
func full(r *admission.Refusal) *refusal {
	if r == nil {
		return nil
	}
	return &refusal{name: r.Name, status: http.StatusTooManyRequests, title: r.Title, detail: r.Detail, after: r.After,
		soon: r.Soon, extra: r.Extra}
}

func notFound() *refusal {
	return &refusal{name: "not-found", status: http.StatusNotFound, title: "No such resource",
		detail: "events are sent to /v1/events"}
}

func wrongMethod(allow string) *refusal {
	return &refusal{name: "method-not-allowed", status: http.StatusMethodNotAllowed,
		title:  "The method is not allowed here",
		detail: "use " + allow, allow: allow}
}

func bodyTooLarge(limit int) *refusal {
	return &refusal{name: "body-too-large", status: http.StatusRequestEntityTooLarge, title: "The body is too large",
		detail: fmt.Sprintf("a body may have %d bytes: send fewer events in one request", limit),
		extra:  map[string]any{"limit": limit}, close: true}
}

func batchTooLarge(limit int) *refusal {
	return &refusal{name: "batch-too-large", status: http.StatusRequestEntityTooLarge,
		title:  "Too many events in one request",
		detail: fmt.Sprintf("a request may have %d events: send the rest in another", limit),
		extra:  map[string]any{"limit": limit}}
}

func wrongMediaType(detail string) *refusal {
	return &refusal{name: "unsupported-media-type", status: http.StatusUnsupportedMediaType,
		title: "The media type or encoding is not supported", detail: detail}
}

func wrongEncoding() *refusal {
	const known = encodingGzip + ", " + encodingZstd + ", " + encodingIdentity
	r := wrongMediaType("use one of the content encodings " + known)
	r.accept = known
	return r
}

func slowBody() *refusal {
	return &refusal{name: "request-timeout", status: http.StatusRequestTimeout, title: "The request took too long",
		detail: "the body did not arrive in time: nothing of it was taken", close: true}
}

// incompleteBody is the problem type of a body that is shorter than it should be.
const incompleteBody = "incomplete-body"

func brokenBody() *refusal {
	return &refusal{name: incompleteBody, status: http.StatusBadRequest, title: "The body is incomplete",
		detail: "the connection ended before the body did: nothing of it was taken", close: true}
}

const stoppingName = "stopping"

func stopping() *refusal {
	return &refusal{name: stoppingName, status: http.StatusServiceUnavailable, title: "Temporarily unavailable",
		detail: "this gate is stopping: nothing of the request was taken", after: time.Second, close: true}
}

// leaving tells load balancers that the gate is stopping, while it still accepts events.
func leaving() *refusal {
	return &refusal{name: stoppingName, status: http.StatusServiceUnavailable, title: "Temporarily unavailable",
		detail: "this gate is stopping: send elsewhere", after: time.Second, close: true}
}

func clientGone() *refusal {
	return &refusal{name: "client-gone", status: http.StatusServiceUnavailable, title: "Temporarily unavailable",
		detail: "the connection ended before the events were taken: send them again", after: time.Second, close: true}
}

func logUnavailable() *refusal {
	return &refusal{name: "log-unavailable", status: http.StatusServiceUnavailable, title: "Temporarily unavailable",
		detail: "the events could not be made durable: send them again, event_id makes that safe", after: 2 * time.Second}
}

func notAcknowledged() *refusal {
	return &refusal{name: "not-acknowledged", status: http.StatusServiceUnavailable, title: "Temporarily unavailable",
		detail: "the events were not acknowledged in time and may or may not be durable: send them again, event_id makes " +
			"that safe",
		after: 2 * time.Second}
}
