package httpx

import (
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswer_BodiesAreReadByPeople(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		status int
		body   string
	}{
		"plain": {func(w http.ResponseWriter) {
			Answer(w, 201, map[string]string{"a": "<b> & c"})
		}, 201, `{"a":"<b> & c"}` + "\n"},
		"no JSON":   {func(w http.ResponseWriter) { Answer(w, 200, math.NaN()) }, 500, "Internal error"},
		"invalid":   {func(w http.ResponseWriter) { Invalid(w, "limit: expected <= 10") }, 400, "limit: expected <= 10"},
		"not found": {func(w http.ResponseWriter) { NotFound(w, "no replay has this id") }, 404, "no replay has this id"},
		"unavailable": {func(w http.ResponseWriter) {
			Unavailable(w, "the store", errors.New("pw@db-1"))
		}, 503, "the store does not answer: try again"},
	} {
		w := httptest.NewRecorder()
		c.answer(w)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Code == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: does not say when to come again", name)
		}
	}
}
