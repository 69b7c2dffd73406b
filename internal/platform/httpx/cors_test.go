package httpx

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestCORS_OnlyListedOriginsAreAnswered(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	})
	for _, c := range []struct {
		origins              []string
		method, origin, asks string
		status               int
		allowed, vary        string
	}{
		{nil, "POST", "https://a.example", "", 200, "", ""},
		{nil, "OPTIONS", "https://a.example", "POST", 405, "", ""},
		{[]string{"https://a.example"}, "POST", "https://a.example", "", 200, "https://a.example", "Origin"},
		{[]string{"https://a.example"}, "OPTIONS", "https://a.example", "POST", 204, "https://a.example", "Origin"},
		// no preflight
		{[]string{"https://a.example"}, "OPTIONS", "https://a.example", "", 405, "https://a.example", "Origin"},
		{[]string{"https://a.example"}, "POST", "https://b.example", "", 200, "", "Origin"},
		{[]string{"https://a.example"}, "OPTIONS", "https://b.example", "POST", 405, "", "Origin"},
		{[]string{"https://a.example"}, "POST", "https://a.example.evil", "", 200, "", "Origin"},
		{[]string{"https://a.example"}, "POST", "", "", 200, "", "Origin"},
		{[]string{"*"}, "OPTIONS", "null", "POST", 204, "*", ""},
		{[]string{"*"}, "POST", "https://b.example", "", 200, "*", ""},
	} {
		r := httptest.NewRequest(c.method, "/v1/events", nil)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.asks != "" {
			r.Header.Set("Access-Control-Request-Method", c.asks)
		}
		w := httptest.NewRecorder()
		CORS(c.origins, "POST", next).ServeHTTP(w, r)
		h := w.Header()
		if w.Code != c.status || h.Get("Access-Control-Allow-Origin") != c.allowed || h.Get("Vary") != c.vary ||
			h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%+v: %d %v", c, w.Code, h)
		}
	}
}

func TestCORS_OriginsThatNoBrowserSendsAreRefused(t *testing.T) {
	for origin, ok := range map[string]bool{"https://a.example": true, "http://localhost:3000": true, "*": true,
		"https://a.example/": false, "https://A.example": false, "a.example": false, "null": false, "": false,
		"https://*.example": false, "ftp://a": false, "https://u@a.example": false} {
		if err := ValidOrigin(origin); (err == nil) != ok {
			t.Errorf("%q: %v", origin, err)
		}
	}
}
