package apikey

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/internal/platform/httpx"
)

type api struct {
	t *testing.T
	h http.Handler
}

func (a api) do(method, path, key, body string) (int, map[string]any) {
	a.t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader([]byte(body)))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, r)
	out := map[string]any{}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			a.t.Logf("not JSON: %s", w.Body)
		}
	}
	return w.Code, out
}

func TestAPIKey_KeysAreAdministeredOverHTTP(t *testing.T) {
	s := open(t)
	admin, _ := create(t, s, "", Options{Admin: true})
	device, _ := create(t, s, "acme", Options{})
	c := cached(t, s, CacheOptions{Refresh: time.Hour})
	auth := &Authenticator{Keys: c}
	a := api{t, auth.Require(Route{Scope: Admin, Unnamed: true}, Handler(s, c.Refresh))}

	if status, _ := a.do("GET", "/v1/keys", "", ""); status != 401 {
		t.Errorf("no key: %d", status)
	}
	if status, _ := a.do("GET", "/v1/keys", device, ""); status != 403 {
		t.Errorf("a device's key: %d", status)
	}
	status, made := a.do("POST", "/v1/keys", admin, `{"fleet":"acme","name":"two"}`)
	text, _ := made["key"].(string)
	id, _ := made["id"].(string)
	if status != 201 || made["fleet"] != "acme" {
		t.Fatalf("%d %v", status, made)
	}
	if _, err := c.Check(t.Context(), text); err != nil {
		t.Error(err)
	}
	if scopes, _ := json.Marshal(made["scopes"]); string(scopes) != `["ingest"]` {
		t.Errorf("its scopes are %s", scopes)
	}
	status, list := a.do("GET", "/v1/keys?fleet=acme", admin, "")
	if keys, _ := list["keys"].([]any); status != 200 || len(keys) != 2 {
		t.Fatalf("%d %v", status, list)
	}
	if raw, _ := json.Marshal(list); strings.Contains(string(raw), text) || strings.Contains(string(raw), "hash") {
		t.Errorf("the list tells secrets: %s", raw)
	}
	if status, _ := a.do("DELETE", "/v1/keys/"+id, admin, ""); status != 204 {
		t.Errorf("revoking: %d", status)
	}
	if _, err := c.Check(t.Context(), text); err == nil {
		t.Error("the revoked key still works in the process that revoked it")
	}
	if status, _ := a.do("DELETE", "/v1/keys/nothing", admin, ""); status != 404 {
		t.Errorf("revoking nothing: %d", status)
	}
	if status, made = a.do("POST", "/v1/keys/rotate", admin, `{"fleet":"acme","grace":"1h"}`); status != 201 ||
		made["key"] == nil || made["scopes"] == nil {
		t.Errorf("rotating: %d %v", status, made)
	}
	for _, bad := range []string{``, `[]`, `{"fleet":""}`, `{"fleet":"a/b"}`, `{"flet":"acme"}`,
		`{"fleet":"x","scopes":["all"]}`, `{"fleet":"x","device_prefix":"a b"}`, `{"fleet":"x","id":"y"}`,
		`{"fleet":"x","grace":"1h"}`, `{"fleet":"x","expires_at":"2001-01-01T00:00:00Z"}`} {
		if status, p := a.do("POST", "/v1/keys", admin, bad); status != 400 || p["detail"] == nil {
			t.Errorf("%s: %d %v", bad, status, p)
		}
	}
	_ = s.db.Close()
	if status, p := a.do("GET", "/v1/keys", admin, ""); status != 503 || strings.Contains(p["detail"].(string), "sql") {
		t.Errorf("the store is down: %d %v", status, p)
	}
}

func TestAPIKey_RequireScopesRequestsToAFleet(t *testing.T) {
	s := open(t)
	admin, _ := create(t, s, "", Options{Admin: true})
	device, _ := create(t, s, "acme", Options{Scopes: []Scope{Query}})
	auth := &Authenticator{Keys: cached(t, s, CacheOptions{})}
	a := api{t, auth.Require(Route{Scope: Query}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := KeyFrom(r.Context())
		if !ok || key == nil {
			t.Error("no key in the context")
		}
		httpx.Answer(w, http.StatusOK, map[string]string{"fleet": FleetFrom(r.Context())})
	}))}
	for _, c := range []struct {
		path, key, fleet string
		status           int
	}{
		{"/q", device, "acme", 200},
		{"/q?fleet=acme", device, "acme", 200},
		{"/q?fleet=other", device, "", 403},
		{"/q", admin, "", 400},
		{"/q?fleet=other", admin, "other", 200},
		{"/q?fleet=a%3Ab", admin, "", 400},
		{"/q", "", "", 401},
	} {
		status, body := a.do("GET", c.path, c.key, "")
		if got, _ := body["fleet"].(string); status != c.status || got != c.fleet {
			t.Errorf("%s: %d %v", c.path, status, body)
		}
	}
}
