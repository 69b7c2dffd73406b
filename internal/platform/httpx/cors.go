package httpx

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// CORS lets web pages of these origins, or of any if "*" is listed, send requests with an API key in a header and
// read the answers. It never allows credentials that a browser stores, such as cookies. With no origins it changes
// nothing.
func CORS(origins []string, methods string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, origin := w.Header(), r.Header.Get("Origin")
		allowed := "" // the response depends on the origin unless all are allowed
		switch {
		case slices.Contains(origins, "*"):
			allowed = "*"
		default:
			h.Add("Vary", "Origin")
			if slices.Contains(origins, origin) {
				allowed = origin
			}
		}
		if origin == "" || allowed == "" {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", allowed)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", methods)
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Encoding, Content-Type, Prefer, Traceparent, "+
				"X-API-Key, "+RequestID)
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Access-Control-Expose-Headers", "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, "+
			RequestID)
		next.ServeHTTP(w, r)
	})
}

// ValidOrigin rejects an origin that no browser would send, and that could never match.
func ValidOrigin(origin string) error {
	if origin == "*" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin ||
		strings.Contains(origin, "*") || strings.ToLower(origin) != origin {
		return fmt.Errorf(`origin %q is not like "https://app.example.com", in lower case, or "*"`, origin)
	}
	return nil
}
