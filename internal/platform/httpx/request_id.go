package httpx

import (
	"net/http"

	"weir/internal/platform/trace"
)

// RequestID is the header by which a request is known: a client's own, or one that
// is made up. Every answer has it, and logs and dead letters name it.
const RequestID = "X-Request-Id"

// maxRequestID bounds what a client may call its request.
const maxRequestID = 64

// Identify gives the answer to a request its id.
func Identify(w http.ResponseWriter, r *http.Request) {
	w.Header()[RequestID] = []string{IDOf(r.Header.Get(RequestID))}
}

// IDOf is the id of a request: its client's, where that is plain, or a new one.
func IDOf(asked string) string {
	if plainID(asked) {
		return asked
	}
	return trace.NewID()
}

// RequestIDOf is the id of the request that w answers, "" if nobody gave it one.
func RequestIDOf(w http.ResponseWriter) string { return w.Header().Get(RequestID) }

// plainID tells whether a client's id may be told in logs and headers as it is.
func plainID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
