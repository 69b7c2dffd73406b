package httpx

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestRequestID_IsTheClientsOwnIfItIsPlain(t *testing.T) {
	made := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	for asked, kept := range map[string]bool{"order-17_b.Z": true, strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false, "": false, "a b": false, "a\"b": false, "a/b": false, "ä": false} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		if asked != "" {
			r.Header.Set("X-Request-Id", asked)
		}
		Identify(w, r)
		id := w.Result().Header.Get("X-Request-Id")
		if id != RequestIDOf(w) || (id == asked) != kept || !kept && !made.MatchString(id) || seen[id] {
			t.Errorf("asked for %q, it is called %q", asked, id)
		}
		seen[id] = true
	}
}
