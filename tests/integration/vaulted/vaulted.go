// Package vaulted is a Vault for tests of what gets a password out of one: it
// holds a single secret, whose password may be changed.
package vaulted

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Reference is where the password is.
const Reference = "vault://secret/data/weir/test#password"

// Hostile are passwords that break what quotes, splits or prints them.
func Hostile() []string {
	return []string{`a"b`, `a\b`, "a#b", "a%zz", "${HOME}", "a\nX-Vault-Token: b", "'; DROP TABLE x; --", "p@ss:w/ord?&=",
		" blank ", "ключ-🔑", "\x1b[31mred", `{"data":{"data":{}}}`}
}

// Start starts it, for the environment of the test, and returns what sets the
// password.
func Start(t *testing.T) (set func(password string)) {
	t.Helper()
	var password atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1/secret/data/weir/test") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{
			"data": map[string]any{"password": password.Load()}, "metadata": map[string]any{"version": 1}}})
	}))
	t.Cleanup(server.Close)
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "a-token")
	return func(p string) { password.Store(p) }
}
