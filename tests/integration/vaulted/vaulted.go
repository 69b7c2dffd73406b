// Package vaulted provides a fake HashiCorp Vault with one secret, and a fake server that records passwords, for
// tests of clients that read a password from Vault.
package vaulted

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Reference refers to the password in the fake Vault.
const Reference = "vault://secret/data/weir/test#password"

// Hostile returns passwords that break wrong quoting, splitting and printing.
func Hostile() []string {
	return []string{`a"b`, `a\b`, "a#b", "a%zz", "${HOME}", "a\nX-Vault-Token: b", "'; DROP TABLE x; --", "p@ss:w/ord?&=",
		" blank ", "ключ-🔑", "\x1b[31mred", `{"data":{"data":{}}}`}
}

// Start starts a fake Vault, points the environment of the test to it, and returns a function that sets the password.
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

// Door is a server that asks each client for a password, records it, and refuses the client.
type Door struct {
	Address string

	mu   sync.Mutex
	told []string
}

// NewDoor starts a Door that runs until the test ends. hear handles a connection in the protocol of the server that
// it stands for and calls keep with the password.
func NewDoor(t *testing.T, hear func(conn net.Conn, keep func(told string))) *Door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d := &Door{Address: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				hear(conn, d.keep)
			}()
		}
	}()
	return d
}

func (d *Door) keep(told string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, told)
}

// Told returns the passwords that were recorded so far.
func (d *Door) Told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.told)
}
