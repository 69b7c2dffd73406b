package httpx

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestRequestID_IsTheClientsOwnIfItIsOpaque(t *testing.T) {
	made := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	for asked, kept := range map[string]bool{
		"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f": true, "0197B2F4-5D0E-7C3A-9F1E-3B5A7C9D1E2F": true,
		"0af7651916cd43dd8448eb211c80319c": true, strings.Repeat("7", 32): true,
		// what may be of a person
		"order-17_b.Z": false, "ann.smith": false, "ann-smith-of-plantville-at-home-1": false, "4111111111111111": false,
		"004915112345678": false, "DE89370400440532013000": false, "BE68539007547034": false, "203.0.113.7": false,
		strings.Repeat("g", 32): false, strings.Repeat("a", 33): false, strings.Repeat("a", 64): false,
		"0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2": false, "": false, "a b": false, "a\"b": false, "a/b": false, "ä": false,
	} {
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
