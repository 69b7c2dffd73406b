package httpx

import (
	"errors"
	"net/http"
)

// Outcomes maps the errors of a store to responses.
type Outcomes struct {
	Store   string // name in messages: "the store of consents"
	Invalid error  // wrapped by errors of an invalid request
	Missing error  // wrapped when nothing was found; nil: never happens
	None    string // message for Missing
}

// Answer answers 200 with a body, or the response for err. Any error other than Invalid and Missing is answered 503.
func (o Outcomes) Answer(w http.ResponseWriter, body any, err error) {
	switch {
	case err == nil:
		Answer(w, http.StatusOK, body)
	case o.Missing != nil && errors.Is(err, o.Missing):
		NotFound(w, o.None)
	case errors.Is(err, o.Invalid):
		Invalid(w, err.Error())
	default:
		Unavailable(w, o.Store, err)
	}
}
