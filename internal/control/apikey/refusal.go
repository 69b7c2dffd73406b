package apikey

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"weir/internal/platform/httpx"
)

// The reasons of refusals, as metrics name them.
const (
	ReasonUnauthorized = "unauthorized"     // 401: no key, or none that is active
	ReasonForbidden    = "forbidden"        // 403: the key may not do that
	ReasonUnavailable  = "keys-unavailable" // 503: the key cannot be checked now
)

// Refusal says why a request was refused. It never contains a key's text.
type Refusal struct {
	Reason  string // one of the above, or "" for a malformed request
	Detail  string // for logs; says more than the client is told
	KeyID   string // the key's public id, where the key is known
	Person  string // the person's name, where the caller is a person
	Fleet   string
	cause   error // the error that kept the key from being checked
	problem httpx.Problem
}

// write sends the refusal as the response.
func (r Refusal) write(w http.ResponseWriter) {
	switch r.Reason {
	case ReasonUnavailable:
		httpx.Cause(w, r.cause)
		w.Header().Set("Retry-After", "5")
	case ReasonUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="weir"`)
	}
	httpx.Write(w, r.problem)
}

// Line is the log line of a refusal: what was refused, to which address (from) and why. id is the request's, or "".
func (r Refusal) Line(method, path, from, id string) string {
	line := fmt.Sprintf("refused %s %.200q from %s: %s", method, path, from, r.Detail)
	if r.cause != nil {
		line += ": " + httpx.Plain(r.cause)
	}
	if id != "" {
		line += ", as request " + id
	}
	return line
}

// Status is the HTTP status of the answer.
func (r Refusal) Status() int { return r.problem.Status }

// Problem is the body of the answer.
func (r Refusal) Problem() httpx.Problem { return r.problem }

// Unchecked returns the refusal for a request with this key text, given the error of Check.
func Unchecked(text string, err error) Refusal {
	if !errors.Is(err, ErrUnknown) {
		return Refusal{Reason: ReasonUnavailable, Detail: "the store of keys does not answer", cause: err,
			problem: httpx.Problem{Type: "unavailable",
				Status: http.StatusServiceUnavailable, Title: "Temporarily unavailable",
				Detail: "the API key cannot be checked now: try again"}}
	}
	var token *TokenError
	if errors.As(err, &token) {
		return refusedToken(token)
	}
	r := Refusal{Reason: ReasonUnauthorized, Detail: "the API key is not known",
		problem: httpx.Problem{Type: "unauthorized",
			Status: http.StatusUnauthorized, Title: "A valid API key is required",
			Detail: "send an active key in X-API-Key or in Authorization: Bearer"}}
	var ended *endedError
	switch {
	case errors.As(err, &ended):
		r.KeyID, r.Detail = ended.id, ended.Error()
	case text == "":
		r.Detail = "no API key"
	}
	return r
}

// lacks returns the refusal of a key that does not have a scope.
func (k *Key) lacks(s Scope) *Refusal {
	if k.Person != nil {
		return k.lacksRole(s)
	}
	r := k.forbidden("")
	switch {
	case s == Ingest && k.Fleet == "":
		r.problem.Detail = "the key belongs to no fleet: make one with 'weir keys create --fleet'"
	case s == Admin:
		r.problem.Detail = "the key has the scopes " + join(k.Scopes, ", ") +
			"; this needs admin: make such a key with 'weir keys create --admin'"
	default:
		r.problem.Detail = "the key has the scopes " + join(k.Scopes, ", ") + "; this needs " + string(s) +
			": make such a key with 'weir keys create --fleet " + cmp.Or(k.Fleet, "F") + " --scope " + string(s) + "'"
	}
	r.problem.Extra = map[string]any{"missing_scope": s}
	r.Detail = "API key " + k.ID + " lacks the scope " + string(s)
	return r
}

// Lacks returns the refusal of a key that does not allow a scope, or nil when it does.
func (k *Key) Lacks(s Scope) *Refusal {
	if k.Allows(s) {
		return nil
	}
	return k.lacks(s)
}

// beyond returns the refusal of a request for devices outside the key's prefix; instead says what to ask for.
func (k *Key) beyond(instead string) *Refusal {
	r := k.forbidden("the key reads only devices that begin with " + k.DevicePrefix + ": " + instead)
	r.problem.Extra = map[string]any{"device_prefix": k.DevicePrefix}
	return r
}

func (k *Key) forbidden(detail string) *Refusal {
	r := &Refusal{Reason: ReasonForbidden, Detail: "API key " + k.ID + ": " + detail, KeyID: k.ID, Fleet: k.Fleet,
		problem: httpx.Problem{Type: "forbidden", Status: http.StatusForbidden, Title: "This API key may not do that",
			Detail: detail}}
	if k.Person != nil {
		r.Person, r.Detail, r.problem.Title = k.Person.Name, "a person: "+detail, "You may not do that"
	}
	return r
}

func badRequest(detail string) *Refusal {
	return &Refusal{problem: httpx.Problem{Type: "bad-request", Status: http.StatusBadRequest,
		Title: "The request is not valid", Detail: detail}}
}
