package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"weir/internal/control/apikey"
)

// key makes a key over the api.
func (r running) key(wish string) string {
	r.t.Helper()
	resp, body := r.do(r.admin, "POST", "/v1/keys", wish)
	var made struct{ Key string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || resp.StatusCode != http.StatusCreated {
		r.t.Fatalf("making a key: %d %s %v", resp.StatusCode, body, err)
	}
	return made.Key
}

// requestOf is a request for a route, with names of things that are not there.
func requestOf(route apikey.Route) (method, path string) {
	path = strings.NewReplacer("{id}", "pump-1", "{name}", "g", "{fleet}", "plant-1", "{subject}", "s", "{version}",
		"1").Replace(route.Path)
	switch {
	case route.Reach == apikey.ByQuery:
		path += "?device=pump-1"
	case route.Method == "": // all else of the registry
		return http.MethodDelete, path + "config"
	}
	return route.Method, path
}

// Every route × every kind of key: what apikey.Routes says is what the listener
// does, and its refusals say which scope is missing.
func TestRoutes_EachAsksForItsScope(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	revoked := r.key(`{"fleet":"plant-1"}`)
	if resp, body := r.do(r.admin, "DELETE", "/v1/keys/"+strings.Split(revoked, "_")[1],
		""); resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.StatusCode, body)
	}
	fleet := func(scopes ...apikey.Scope) []apikey.Scope { return append(scopes, apikey.AnyKey) }
	kinds := []struct {
		name, text string
		may        []apikey.Scope
		prefix     bool
	}{
		{"no key", "", nil, false},
		{"an unknown key", "weir_" + strings.Repeat("a", 10) + "_" + strings.Repeat("b", 52), nil, false},
		{"a revoked key", revoked, nil, false},
		{"a device's key", r.key(`{"fleet":"plant-1"}`), fleet(), false},
		{"a query key", r.key(`{"fleet":"plant-1","scopes":["query"]}`), fleet(apikey.Query), false},
		{"an operator's key", r.key(`{"fleet":"plant-1","scopes":["query","operate"]}`), fleet(apikey.Query, apikey.Operate),
			false},
		{"a key with a prefix", r.key(`{"fleet":"plant-1","scopes":["query"],"device_prefix":"pump-"}`), fleet(apikey.Query),
			true},
		{"a key of other devices", r.key(`{"fleet":"plant-1","scopes":["query"],"device_prefix":"valve-"}`),
			fleet(apikey.Query), true},
		{"an admin key", r.admin, fleet(apikey.Query, apikey.Operate, apikey.Admin), false},
	}
	for _, route := range apikey.Routes() {
		if route.Server != apikey.API {
			continue
		}
		method, path := requestOf(route)
		for _, kind := range kinds {
			at := path
			if kind.text == r.admin && !route.Unnamed {
				at += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "fleet=plant-1"
			}
			resp, body := r.do(kind.text, method, at, "")
			if resp.StatusCode == http.StatusOK && route.Path == "/v1/live" && !strings.HasPrefix(body, ": weir\n") {
				t.Errorf("%s: %s begins with %q", kind.name, at, body)
			}
			allowed, may := route.Scope == apikey.Anyone, false
			for _, s := range kind.may {
				may = may || s == route.Scope
			}
			if may && kind.prefix { // within what it covers
				may = route.Reach == apikey.NoDevices || route.Reach == apikey.ByHandler || route.Reach != apikey.WholeFleet &&
					kind.name == "a key with a prefix"
			}
			switch got := resp.StatusCode; {
			case allowed || may:
				if got == 401 || got == 403 {
					t.Errorf("%s: %s %s: %d, though it may: %s", kind.name, method, at, got, body)
				}
			case kind.may == nil:
				if got != 401 || resp.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: %s %s: %d, want 401: %s", kind.name, method, at, got, body)
				}
			default:
				if got != 403 || resp.Header.Get("Content-Type") != "application/problem+json" ||
					!strings.Contains(body, `"missing_scope":"`+string(route.Scope)+`"`) &&
						!strings.Contains(body, `"device_prefix"`) {
					t.Errorf("%s: %s %s: %d, want 403 with what is missing: %s", kind.name, method, at, got, body)
				}
			}
		}
	}
}

// The document tells of every route, and of what it asks for; a path in it that
// the table does not know stops the api from starting.
func TestOpenAPI_TellsOfEveryRouteAndItsScope(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	_, body := r.do("", "GET", "/openapi.json", "")
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	for _, route := range apikey.Routes() {
		if route.Server != apikey.API || strings.HasSuffix(route.Path, "/registry/") && route.Method == "" {
			continue
		}
		var operation struct{ Security []map[string][]string }
		if err := json.Unmarshal(document.Paths[route.Path][strings.ToLower(route.Method)], &operation); err != nil {
			t.Errorf("the document does not tell of %s: %v", route.Pattern(), err)
			continue
		}
		want := 2 // a header each
		if route.Scope == apikey.Anyone {
			want = 0
		}
		if len(operation.Security) != want {
			t.Errorf("%s: the security is %v", route.Pattern(), operation.Security)
			continue
		}
		for _, way := range operation.Security {
			for _, roles := range way {
				if role := strings.Join(roles, " "); route.Scope != apikey.AnyKey && role != string(route.Scope) ||
					route.Scope == apikey.AnyKey && role != "" {
					t.Errorf("%s: the document asks for %q, the table for %q", route.Pattern(), role, route.Scope)
				}
			}
		}
	}
}

// What no name has is refused before anybody is asked for it.
func TestRoutes_BytesThatNoNameHasAreRefused(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	for _, key := range []string{"", r.admin} {
		for _, path := range []string{"/v1/alerts/%00/acknowledge", "/v1/alerts/a%ff/acknowledge",
			"/v1/alerts/a/acknowledge?fleet=%00", "/v1/alerts/a/acknowledge?fleet=%zz"} {
			if resp, body := r.do(key, "POST", path, ""); resp.StatusCode != http.StatusBadRequest ||
				!strings.Contains(body, "zero bytes") {
				t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			}
		}
	}
}
