package httpx

import (
	"net/http"

	"weir/internal/platform/text"
	"weir/internal/platform/trace"
)

// RequestID is the header with a request's id, chosen by the client or generated. Every response carries it, and logs
// and dead letters name it.
const RequestID = "X-Request-Id"

// Identify sets the id of a request in its response header.
func Identify(w http.ResponseWriter, r *http.Request) {
	w.Header()[RequestID] = []string{IDOf(r.Header.Get(RequestID))}
}

// IDOf returns the id of a request: the client's, if it is opaque, or a new one.
func IDOf(asked string) string {
	if opaque(asked) {
		return asked
	}
	return trace.NewID()
}

// RequestIDOf returns the id of the request that w answers, or "".
func RequestIDOf(w http.ResponseWriter) string { return w.Header().Get(RequestID) }

// opaque tells whether a client's id may appear in logs and dead letters, which are not searched for personal data:
// only a UUID or 32 hex digits like a trace id. No name, address or number of a person has that form; fewer hex
// digits could be a payment card or a Belgian or German IBAN.
func opaque(id string) bool {
	if len(id) != 32 {
		_, is := text.ParseUUID(id)
		return is
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}
