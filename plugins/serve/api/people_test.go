package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"weir/internal/control/apikey"
)

// issuer serves the key that it signs tokens with.
type issuer struct {
	t    *testing.T
	url  string
	key  *ecdsa.PrivateKey
	away atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys",
			"keys": []any{jose.JSONWebKey{Key: key.Public(), KeyID: "1"}}})
	}))
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

// fields are those of the api that let its people in.
func (i *issuer) fields() string {
	return "oidc: { issuer: " + i.url + ", audience: weir, name_claim: email }"
}

func (i *issuer) token(fleets string, roles ...apikey.Role) string {
	i.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key},
		(&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		i.t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"iss": i.url, "aud": "weir", "email": "ada@example.com", "fleets": fleets,
		"roles": roles, "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := s.Sign(body)
	if err != nil {
		i.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// Every route × every role: a role has its scopes, and what the table lets it do
// beside them, of its fleets alone.
func TestPeople_ReachWhatTheirRolesSay(t *testing.T) {
	i := newIssuer(t)
	r := start(t, "audit_log: { url: CONTROL }", i.fields())
	has := map[apikey.Role][]apikey.Scope{
		apikey.Viewer: {}, apikey.Analyst: {apikey.Query}, apikey.Operator: {apikey.Query, apikey.Operate},
		apikey.PrivacyOfficer: {apikey.Query}, apikey.Sender: {},
		apikey.Administrator: {apikey.Query, apikey.Operate, apikey.Admin},
	}
	also := map[apikey.Role]string{
		apikey.Viewer: "/v1/overview /v1/live /v1/proof /v1/proof/history /v1/proof/hours /v1/rollups /v1/devices " +
			"/v1/devices/{id}/latest /v1/alerts /v1/alerts/{id} /v1/quality /v1/groups /v1/groups/{name} " +
			"/v1/analytics/events /v1/analytics/users /v1/analytics/sessions /v1/analytics/funnels/{name} " +
			"/v1/analytics/revenue /v1/analytics/attribution",
		apikey.PrivacyOfficer: "/v1/consent /v1/identity /v1/identity/changes /v1/erasures /v1/erasures/{id} " +
			"/v1/holds /v1/holds/{fleet} /v1/retention /v1/audit",
	}
	for _, role := range apikey.Roles() {
		for _, fleets := range []string{"*", "plant-1"} {
			token := i.token(fleets, role)
			for _, route := range apikey.Routes() {
				if route.Server != apikey.API || route.Path == "/v1/live" {
					continue
				}
				method, path := requestOf(route)
				if !route.Unnamed {
					path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "fleet=plant-1"
				}
				resp, body := r.do(token, method, path, "")
				beside := method == "GET" || role == apikey.PrivacyOfficer
				may := route.Scope == apikey.Anyone || route.Scope == apikey.AnyKey || slices.Contains(has[role], route.Scope) ||
					slices.Contains(strings.Fields(also[role]), route.Path) && beside
				if route.Scope == apikey.Admin && fleets != "*" {
					may = false
				}
				if refused := resp.StatusCode == 401 || resp.StatusCode == 403; refused == may {
					t.Errorf("%s of %s: %s %s: %d, want it to be let in: %v: %s", role, fleets, method, path, resp.StatusCode, may,
						body)
				}
			}
			if resp, body := r.do(token, "GET", "/v1/alerts?fleet=other", ""); (resp.StatusCode == 403) == (fleets == "*" &&
				role != apikey.Sender) {
				t.Errorf("%s of %s: another fleet: %d %s", role, fleets, resp.StatusCode, body)
			}
		}
	}
	two := i.token("a plant-1", apikey.Analyst)
	for text, want := range map[string]string{
		two: `"everywhere":false,"fleets":["a","plant-1"]`, i.token("*", apikey.Viewer): `"everywhere":true,"fleets":["plant-1"]`,
		i.token("plant-1", apikey.Viewer): `"person":"ada@example.com","roles":["viewer"],"scopes":[]`,
		r.fleet:                           `"everywhere":false,"fleets":["plant-1"]`, r.admin: `"scopes":["admin"],"everywhere":true`,
	} {
		if resp, body := r.do(text, "GET", "/v1/me", ""); resp.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("/v1/me: %d %s, want %s", resp.StatusCode, body, want)
		}
	}
	for path, want := range map[string]int{"/v1/alerts": 403, "/v1/alerts?fleet=a": 200, "/v1/alerts?fleet=plant-1": 200,
		"/v1/alerts?fleet=b": 403, "/v1/me": 200, "/v1/alerts?fleet=*": 403, "/registry/subjects": 200} {
		if resp, body := r.do(two, "GET", path, ""); resp.StatusCode != want {
			t.Errorf("of two fleets: %s: %d, want %d: %s", path, resp.StatusCode, want, body)
		}
	}
	for _, none := range []string{i.token("*"), i.token("*", "root")} {
		if resp, body := r.do(none, "GET", "/registry/subjects", ""); resp.StatusCode != 403 {
			t.Errorf("without a role: %d %s", resp.StatusCode, body)
		}
	}
	if resp, body := r.do(i.token("*", apikey.Viewer)+"x", "GET", "/v1/alerts", ""); resp.StatusCode != 401 ||
		!strings.Contains(body, "the token") {
		t.Errorf("a token that was changed: %d %s", resp.StatusCode, body)
	}
}

// While the issuer is away, nobody who comes with a token is let in, nor told that
// the token is bad; keys go on.
func TestPeople_AreToldToComeAgainWhileTheIssuerIsAway(t *testing.T) {
	i := newIssuer(t)
	i.away.Store(true)
	r := start(t, "audit_log: { url: CONTROL }", i.fields())
	resp, body := r.do(i.token("*", apikey.Viewer), "GET", "/v1/alerts", "")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := r.do(r.fleet, "GET", "/v1/alerts", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("a key: %d %s", resp.StatusCode, body)
	}
}

func TestPeople_AreNamedInTheAuditLog(t *testing.T) {
	i := newIssuer(t)
	r := start(t, "audit_log: { url: CONTROL }", i.fields())
	token := i.token("*", apikey.PrivacyOfficer)
	if resp, body := r.do(token, "PUT", "/v1/holds/plant-1", `{"reason":"a dispute"}`); resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	page := r.acts("?key=ada@example.com")
	if len(page.Acts) != 1 || page.Acts[0].User != "ada@example.com" || page.Acts[0].Key != "" ||
		page.Acts[0].Path != "/v1/holds/plant-1" {
		t.Errorf("the log has %+v", page.Acts)
	}
	if resp, body := r.do(token, "GET", "/v1/holds/plant-1", ""); resp.StatusCode != http.StatusOK ||
		!strings.Contains(body, "ada@example.com") {
		t.Errorf("the hold does not say who: %d %s", resp.StatusCode, body)
	}
}

// Where it is wanted, each question has an entry before it is answered, and none is
// answered without.
func TestReads_AreInTheAuditLogBeforeTheyAreAnswered(t *testing.T) {
	i := newIssuer(t)
	r := start(t, "audit_log: { url: CONTROL }", i.fields(), "audit_reads: true")
	for _, path := range []string{"/v1/alerts?fleet=plant-1", "/v1/devices/pump-9/latest?fleet=plant-1",
		"/v1/live?fleet=plant-1"} {
		r.do(i.token("*", apikey.Viewer), "GET", path, "")
		page := r.acts("?key=ada@example.com")
		if len(page.Acts) == 0 || !strings.HasPrefix(path, page.Acts[0].Path) || page.Acts[0].Detail["fleet"] != "plant-1" ||
			page.Acts[0].Method != "GET" || page.Acts[0].Status == 0 {
			t.Errorf("%s: the log has %+v", path, page.Acts)
		}
	}
	if page := r.acts("?path=/v1/audit"); len(page.Acts) == 0 { // who looked at the log is in it
		t.Error("questions of the audit log have no entry")
	}
	for _, open := range []string{"/healthz", "/openapi.json"} {
		r.do("", "GET", open, "")
		if page := r.acts("?path=" + open); len(page.Acts) != 0 {
			t.Errorf("%s is for everybody, and has an entry", open)
		}
	}
	rec := &recorder{acts: make(chan pendingAct), wait: time.Millisecond, warn: func(error) {}}
	w := httptest.NewRecorder()
	events := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = w.Write([]byte("secret"))          // it fails, as where a client has gone
		_ = http.NewResponseController(w).Flush() // it does nothing
	})
	rec.read(apikey.Route{Method: "GET", Scope: apikey.Query}, events).
		ServeHTTP(w, httptest.NewRequest("GET", "/v1/events", nil))
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret") ||
		w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered without an entry: %d %v %s", w.Code, w.Header(), w.Body)
	}
}
