package httpx

import (
	"errors"
	"net/http"
)

// Outcomes says how the errors of a store are answered.
type Outcomes struct {
	Store   string // for people: "the store of consents"
	Invalid error  // wrapped by what is wrong with a request
	Missing error  // wrapped where there is nothing; nil: there always is
	None    string // what is not there, for people
}

// Answer answers with a body, or with what the error says. An error that is none of
// the store's is the store that does not answer.
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
