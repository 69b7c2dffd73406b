package registry

import (
	"errors"
	"net/http"
)

// Refused tells whether a registry looked at a schema and will not take it,
// which is an answer and no failure to get one.
func Refused(err error) bool {
	status := 0
	var here *apiError
	var there *answerError
	switch {
	case errors.As(err, &here):
		status = here.status
	case errors.As(err, &there):
		status = there.status
	}
	return status == http.StatusConflict || status == http.StatusUnprocessableEntity
}
