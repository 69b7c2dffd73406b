package httpx

import (
	"net/http"

	"weir/internal/platform/text"
	"weir/internal/platform/trace"
)

// RequestID is the header by which a request is known: a client's own, or one that
// is made up. Every answer has it, and logs and dead letters name it.
const RequestID = "X-Request-Id"

// Identify gives the answer to a request its id.
func Identify(w http.ResponseWriter, r *http.Request) {
	w.Header()[RequestID] = []string{IDOf(r.Header.Get(RequestID))}
}

// IDOf is the id of a request: its client's, where that is an opaque one, or a new
// one.
func IDOf(asked string) string {
	if opaque(asked) {
		return asked
	}
	return trace.NewID()
}

// RequestIDOf is the id of the request that w answers, "" if nobody gave it one.
func RequestIDOf(w http.ResponseWriter) string { return w.Header().Get(RequestID) }

// opaque tells whether a client's id may be told in logs and kept in dead letters,
// which no processor looks into: a UUID, or as many hex digits without hyphens, as
// the id of a trace has them. No name, address or number of a person has that
// shape. Fewer hex digits could be a card's, and an IBAN of Belgium or Germany.
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
