package httpx

import (
	"net/http"
	"strconv"

	"weir/internal/platform/text"
)

// Answer answers with a body as JSON that no cache keeps. Characters stand as
// they are: "<" is no \u003c.
func Answer(w http.ResponseWriter, status int, body any) {
	raw, err := encode(body)
	if err != nil { // a value of ours that is no JSON, such as a number that is not finite
		Cause(w, err)
		Write(w, Problem{Type: "internal", Status: http.StatusInternalServerError, Title: "Internal error"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw) // an error says that the client has gone
}

// Document answers with JSON that is ready and the same for everyone.
func Document(w http.ResponseWriter, raw []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw) // an error says that the client has gone
}

// encode is a body as Answer writes it: one line, with its end.
func encode(body any) ([]byte, error) {
	raw, err := text.JSON(body)
	return append(raw, '\n'), err
}

// Invalid answers 400: the detail says what is wrong with the request.
func Invalid(w http.ResponseWriter, detail string) {
	Write(w, Problem{Type: "bad-request", Status: http.StatusBadRequest, Title: "The request is not valid",
		Detail: detail})
}

// NotFound answers 404: the detail says what is not there.
func NotFound(w http.ResponseWriter, detail string) {
	Write(w, Problem{Type: "not-found", Status: http.StatusNotFound, Title: "No such resource", Detail: detail})
}

// Unavailable answers 503 and asks to come again: what ("the store of replays")
// does not answer. Why is for the log alone.
func Unavailable(w http.ResponseWriter, what string, why error) {
	Cause(w, why)
	w.Header().Set("Retry-After", "5")
	Write(w, Problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Title: "Temporarily unavailable",
		Detail: what + " does not answer: try again"})
}
