package registry

import (
	"errors"
	"net/http"
)

// Refused tells whether the registry examined a schema and rejected it, as opposed to an error that
// prevented an answer.
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
