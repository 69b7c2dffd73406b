package api

import (
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"

	"weir/internal/control/apikey"
	"weir/internal/control/auditlog"
	"weir/internal/platform/httpx"
)

// asked lists the query parameters that a read's entry records.
func asked() []string {
	return []string{"fleet", "device", "person", "group", "metric", "from", "to", "resolution", "subject", "code", "stage",
		"format"}
}

// read wraps a handler of queries if each must have an entry in the audit log: the entry is committed before the
// first byte of the answer is sent, and without it the answer is 503. It must run after authentication.
func (r *recorder) read(to apikey.Route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if to.Acts() && req.Method != http.MethodGet && req.Method != http.MethodHead { // audited records it
			next.ServeHTTP(w, req)
			return
		}
		e := &enteredResponse{ResponseWriter: w, enter: func(status int) error {
			return r.keep(req.Context(), readOf(req, httpx.RequestIDOf(w), status))
		}}
		next.ServeHTTP(e, req)
		e.WriteHeader(http.StatusOK) // for an answer without a body
	})
}

func readOf(req *http.Request, id string, status int) auditlog.Act {
	a := auditlog.Act{ID: uuid.NewString(), At: time.Now().UTC(), Method: req.Method, Path: auditlog.Text(req.URL.Path),
		From: req.RemoteAddr, Status: status, Detail: map[string]any{detailRequest: id}}
	q := req.URL.Query()
	for _, name := range asked() {
		if v := q.Get(name); v != "" {
			a.Detail[name] = auditlog.Text(v)
		}
	}
	a.Key, a.User, a.Fleet = callerOf(req)
	return a
}

// callerOf returns the id of the request's key or the name of its person, and the fleet.
func callerOf(req *http.Request) (key, person, fleet string) {
	k, ok := apikey.KeyFrom(req.Context())
	switch {
	case !ok:
		return "", "", ""
	case k.Person != nil:
		return "", k.Person.Name, k.Fleet
	}
	return k.ID, "", k.Fleet
}

// enteredResponse delays the response until its entry is committed.
type enteredResponse struct {
	http.ResponseWriter
	enter func(status int) error
	begun bool
	bad   bool // there is no entry: the response is discarded
}

// Unwrap implements the interface of http.ResponseController.
func (e *enteredResponse) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader commits the entry and then starts the response.
func (e *enteredResponse) WriteHeader(status int) {
	if e.begun {
		return
	}
	e.begun = true
	if err := e.enter(status); err != nil {
		e.bad = true
		for name := range maps.Clone(e.Header()) {
			if name != httpx.RequestID {
				e.Header().Del(name)
			}
		}
		httpx.Unavailable(e.ResponseWriter, "the audit log", err)
		return
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write starts the response if needed.
func (e *enteredResponse) Write(b []byte) (int, error) {
	e.WriteHeader(http.StatusOK)
	if e.bad {
		return 0, errAuditLate
	}
	return e.ResponseWriter.Write(b)
}

// Flush starts the response if needed.
func (e *enteredResponse) Flush() {
	if e.WriteHeader(http.StatusOK); !e.bad {
		_ = http.NewResponseController(e.ResponseWriter).Flush() // the next write returns the error
	}
}
