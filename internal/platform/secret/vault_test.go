package secret

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/tests/integration/vaulted"
)

// fake is a Vault that answers a path as it is told to.
func fake(t *testing.T, answer http.HandlerFunc) *vault {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return at(t, map[string]string{envAddress: server.URL, envToken: "a-token"})
}

func at(t *testing.T, env map[string]string) *vault {
	t.Helper()
	v := newVault(func(name string) string { return env[name] })
	t.Cleanup(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.forget()
	})
	return v
}

func kv(text string) []byte {
	raw, _ := json.Marshal(map[string]any{"data": map[string]any{"data": map[string]any{"password": text, "n": 1},
		"metadata": map[string]any{"version": 1}}})
	return raw
}

func read(t *testing.T, v *vault, setting string) (string, error) {
	t.Helper()
	return value(t.Context(), setting, func() *vault { return v })
}

func TestVault_AnyPasswordArrivesAsItIs(t *testing.T) {
	for _, password := range vaulted.Hostile() {
		v := fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Vault-Token") != "a-token" || r.URL.Path == "/v1/secret/data/pg" && r.Method != http.MethodGet {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			_, _ = w.Write(kv(password))
		})
		if got, err := read(t, v, "vault://secret/data/pg#password"); err != nil || got != password {
			t.Errorf("%q: %q, %v", password, got, err)
		}
	}
}

// Each failure names the path, and shows nothing of what is there.
func TestVault_NoFailureShowsAHostilePassword(t *testing.T) {
	for name, c := range map[string]struct {
		field, says string
		answer      func(w http.ResponseWriter, password string)
	}{
		"another field": {"user", `no field "user"`, func(w http.ResponseWriter, p string) { _, _ = w.Write(kv(p)) }},
		"not a text":    {"n", "not a text", func(w http.ResponseWriter, p string) { _, _ = w.Write(kv(p)) }},
		"deleted": {"password", "deleted", func(w http.ResponseWriter, p string) {
			_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"data": nil, "metadata": p}})
		}},
		"no JSON":   {"password", "no secret", func(w http.ResponseWriter, p string) { _, _ = w.Write([]byte("x" + p)) }},
		"forbidden": {"password", "forbids", status(403)}, "absent": {"password", "nothing there", status(404)},
		"sealed": {"password", "sealed", status(503)}, "error": {"password", "answers 500", status(500)},
		"redirect":  {"password", "redirect", status(307)},
		"cut short": {"password", "broke off", cut("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")},
		"no HTTP":   {"password", "no whole answer", cut("")},
		"bad field": {"password", "no whole answer", cut("HTTP/1.1 200 OK\r\n")},
		"too large": {"password", "larger", func(w http.ResponseWriter, p string) {
			_, _ = w.Write([]byte(strings.Repeat(p, mostBytes/len(p)+2)))
		}},
	} {
		for _, password := range vaulted.Hostile() {
			v := fake(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "lookup-self") {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				c.answer(w, password)
			})
			const path = "vault://secret/data/pg#"
			_, err := read(t, v, path+c.field)
			if err == nil || !strings.Contains(err.Error(), path+c.field) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && strings.Contains(err.Error(), strings.TrimSpace(password)) {
				t.Errorf("%s: %q is shown: %v", name, password, err)
			}
		}
	}
}

func status(code int) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, password string) {
		w.Header().Set("Location", "https://elsewhere/"+strings.Map(func(r rune) rune {
			if r < '0' || r > 'z' {
				return 'x'
			}
			return r
		}, password))
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"errors":[%q]}`, password)
	}
}

// cut answers with a beginning and the password, and hangs up.
func cut(begin string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, password string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte(begin + password))
		_ = conn.Close()
	}
}

func TestVault_WhatIsMissingIsNamed(t *testing.T) {
	const ref = "vault://secret/data/pg#password"
	for name, c := range map[string]struct {
		env  map[string]string
		says string
	}{
		"no address":   {map[string]string{envToken: "t"}, envAddress},
		"no login":     {map[string]string{envAddress: "http://127.0.0.1:1"}, envRole},
		"away":         {map[string]string{envAddress: "http://127.0.0.1:1", envToken: "t"}, "does not answer"},
		"no address's": {map[string]string{envAddress: "u:p@h", envToken: "t"}, envAddress},
		"no CA":        {map[string]string{envAddress: "https://127.0.0.1:1", envToken: "t", envCA: "/no/such"}, envCA},
		"no file":      {map[string]string{envAddress: "http://127.0.0.1:1", envToken: "file:///no/such"}, envToken},
		"a break":      {map[string]string{envAddress: "http://127.0.0.1:1", envToken: "s3\ncret"}, envToken},
	} {
		_, err := read(t, at(t, c.env), ref)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), ref) ||
			strings.Contains(err.Error(), "cret") && !strings.Contains(err.Error(), "secret/data") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token is renewed while nobody asks for a secret.
func TestVault_ATokenIsRenewedByItself(t *testing.T) {
	var logins, renewals atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/auth/approle/login":
			logins.Add(1)
		case "/v1/auth/token/renew-self":
			renewals.Add(1)
		default:
			_, _ = w.Write(kv("p"))
			return
		}
		_, _ = w.Write([]byte(`{"auth":{"client_token":"t","lease_duration":1,"renewable":true}}`))
	}))
	t.Cleanup(server.Close)
	v := at(t, map[string]string{envAddress: server.URL, envRole: "r", envSecret: "s"})
	ask := func() {
		if got, err := read(t, v, "vault://secret/data/pg#password"); err != nil || got != "p" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	ask()
	for until := time.Now().Add(time.Minute); renewals.Load() < 3 && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	ask()
	if logins.Load() != 1 || renewals.Load() < 3 {
		t.Errorf("%d logins and %d renewals", logins.Load(), renewals.Load())
	}
}

// A token that is refused is replaced by one login, not by one after the other.
func TestVault_ARefusedTokenIsReplacedOnce(t *testing.T) {
	var logins atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/auth/approle/login" {
			_, _ = fmt.Fprintf(w, `{"auth":{"client_token":"t%d"}}`, logins.Add(1))
			return
		}
		if r.Header.Get("X-Vault-Token") != "t2" || strings.HasSuffix(r.URL.Path, "forbidden") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write(kv("p"))
	}))
	t.Cleanup(server.Close)
	v := at(t, map[string]string{envAddress: server.URL, envRole: "r", envSecret: "s"})
	for range 3 {
		if got, err := read(t, v, "vault://secret/data/pg#password"); err != nil || got != "p" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if logins.Load() != 2 {
		t.Errorf("%d logins", logins.Load())
	}
	if _, err := read(t, v, "vault://forbidden#x"); err == nil || logins.Load() != 3 {
		t.Errorf("%v after %d logins", err, logins.Load())
	}
}
