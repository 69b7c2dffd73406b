package httpx

import (
	"net/http"
	"strconv"

	"weir/internal/platform/text"
)

// Answer writes a JSON response that must not be cached. It does not escape HTML characters. When body cannot be
// encoded it answers 500.
func Answer(w http.ResponseWriter, status int, body any) {
	raw, err := Encode(body)
	if err != nil { // our own value cannot be JSON, such as an infinite number
		Cause(w, err)
		Write(w, Problem{Type: "internal", Status: http.StatusInternalServerError, Title: "Internal error"})
		return
	}
	Encoded(w, status, raw)
}

// Encoded answers with what Encode returned.
func Encoded(w http.ResponseWriter, status int, raw []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw) // an error means that the client is gone
}

// Document writes JSON that is already encoded and the same for everyone.
func Document(w http.ResponseWriter, raw []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw) // an error means that the client is gone
}

// Encode returns a body as one line of JSON with its line feed.
func Encode(body any) ([]byte, error) {
	raw, err := text.JSON(body)
	return append(raw, '\n'), err
}

// Invalid answers 400; detail says what is wrong with the request.
func Invalid(w http.ResponseWriter, detail string) {
	Write(w, Problem{Type: "bad-request", Status: http.StatusBadRequest, Title: "The request is not valid",
		Detail: detail})
}

// NotFound answers 404; detail says what is missing.
func NotFound(w http.ResponseWriter, detail string) {
	Write(w, Problem{Type: "not-found", Status: http.StatusNotFound, Title: "No such resource", Detail: detail})
}

// Unavailable answers 503 with Retry-After; what names the thing that does not answer ("the store of replays"). why
// is passed to the log and not shown to the client.
func Unavailable(w http.ResponseWriter, what string, why error) {
	Cause(w, why)
	w.Header().Set("Retry-After", "5")
	Write(w, Problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Title: "Temporarily unavailable",
		Detail: what + " does not answer: try again"})
}
