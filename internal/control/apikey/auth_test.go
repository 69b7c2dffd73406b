package apikey

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/internal/platform/httpx"
)

func TestKey_AllowsWhatItsScopesSay(t *testing.T) {
	fleet := func(scopes ...Scope) *Key { return &Key{Fleet: "acme", Scopes: scopes} }
	admin := &Key{Admin: true, Scopes: []Scope{Admin}}
	for _, c := range []struct {
		key *Key
		may string
	}{
		{fleet(), ""}, {fleet(Ingest), "ingest"}, {fleet(Query), "query"}, {fleet(Ingest, Operate), "ingest operate"},
		{admin, "query operate admin"}, {&Key{Scopes: []Scope{Ingest}}, ""}, // no fleet to send for
	} {
		var may []string
		for _, s := range scopes() {
			if c.key.Allows(s) {
				may = append(may, string(s))
			}
			if c.key.Allows(s) != (c.key.Lacks(s) == nil) {
				t.Errorf("%v: Lacks and Allows differ on %s", c.key.Scopes, s)
			}
		}
		if got := strings.Join(may, " "); got != c.may {
			t.Errorf("%v may %q, want %q", c.key.Scopes, got, c.may)
		}
	}
}

// A key with a device prefix gets through where all that it asks for begins so.
func TestKey_ReadsNoDevicesBeyondItsPrefix(t *testing.T) {
	s := open(t)
	text, _ := create(t, s, "acme", Options{Scopes: []Scope{Query}, DevicePrefix: "pump-"})
	whole, _ := create(t, s, "acme", Options{Scopes: []Scope{Query}})
	auth := &Authenticator{Keys: cached(t, s, CacheOptions{})}
	mux := http.NewServeMux()
	for i, reach := range []Reach{WholeFleet, NoDevices, ByPath, ByQuery, ByHandler} {
		path := fmt.Sprintf("/%d", i)
		if reach == ByPath {
			path += "/{id}"
		}
		mux.Handle(path, auth.Require(Route{Scope: Query, Reach: reach},
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
	}
	for path, want := range map[string]int{
		"/0": 403, "/1": 200, "/4": 200,
		// no device that there can be
		"/2/pump-1": 200, "/2/valve-1": 403, "/2/pump": 403, "/2/%70ump-1": 200, "/2/pump-1%2F..%2Fvalve-1": 200,
		"/3": 403, "/3?device=pump-1": 200, "/3?device=pump-1&device=valve-1": 403, "/3?device=pump-1,valve-1": 403,
		"/3?device=": 403, "/3?device=pump-1,": 403, "/3?group=g": 403, "/3?device=pump-1&group=g": 403,
		"/3?Device=pump-1": 403,
	} {
		for key, want := range map[string]int{text: want, whole: 200} {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("X-API-Key", key)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s: %d, want %d: %s", path, w.Code, want, w.Body)
			}
			if w.Code == 403 && !strings.Contains(w.Body.String(), `"device_prefix":"pump-"`) {
				t.Errorf("%s: the refusal does not say the prefix: %s", path, w.Body)
			}
		}
	}
}

func TestAuthenticator_TellsOfEachRefusalWithoutTheKey(t *testing.T) {
	s := open(t)
	good, k := create(t, s, "acme", Options{})
	ended, gone := create(t, s, "acme", Options{})
	if err := s.Revoke(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	var told []Refusal
	auth := &Authenticator{Keys: cached(t, s, CacheOptions{})}
	auth.Refused = func(r *http.Request, id string, _ Route, why Refusal) {
		told = append(told, why)
		if line := why.Line(r.Method, r.URL.Path, r.RemoteAddr, id); !strings.HasSuffix(line, ", as request r-1") {
			t.Errorf("the log says %q", line)
		}
	}
	h := auth.Require(Route{Scope: Query}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("let through")
	}))
	for i, c := range []struct {
		text, reason, id, detail string
		status                   int
	}{
		{"", ReasonUnauthorized, "", "no API key", 401},
		{flip(good), ReasonUnauthorized, "", "not known", 401},
		{ended, ReasonUnauthorized, gone.ID, "revoked", 401},
		{good, ReasonForbidden, k.ID, "lacks the scope query", 403},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+c.text)
		w := httptest.NewRecorder()
		w.Header().Set(httpx.RequestID, "r-1")
		h.ServeHTTP(w, r)
		if len(told) != i+1 {
			t.Fatalf("%d refusals told, want %d", len(told), i+1)
		}
		got := told[i]
		if w.Code != c.status || got.Status() != c.status || got.Reason != c.reason || got.KeyID != c.id ||
			!strings.Contains(got.Detail, c.detail) {
			t.Errorf("%d %+v, want %+v", w.Code, got, c)
		}
		if all := fmt.Sprintf("%+v %s", got, w.Body); c.text != "" && strings.Contains(all, c.text[len(c.text)-20:]) {
			t.Errorf("the refusal holds the key: %s", all)
		}
	}
	if body := told[3].Problem().JSON(); !strings.Contains(string(body), `"missing_scope":"query"`) {
		t.Errorf("a 403 does not say what is missing: %s", body)
	}
}

// The log says why a key cannot be checked, without logins; its sender is not told.
func TestRefusal_TheLogNamesTheCause(t *testing.T) {
	r := Unchecked("wk_x", fmt.Errorf("reading keys of postgres://weir:s3cret@db/weir: connection refused"))
	line := r.Line("POST", "/v1/events", "10.0.0.1:5", "r-1")
	if !strings.Contains(line, "connection refused") || !strings.Contains(line, "r-1") ||
		strings.Contains(line, "s3cret") {
		t.Errorf("the log says %q", line)
	}
	if p := r.Problem(); strings.Contains(p.Detail+p.Title, "refused") {
		t.Errorf("the sender is told %+v", p)
	}
	if line := Unchecked("", ErrUnknown).Line("GET", "/", "a", ""); strings.Contains(line, "unknown") {
		t.Errorf("a stranger's line is %q", line)
	}
}
