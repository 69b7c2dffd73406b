package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"weir/internal/control/apikey"
)

// keys lets "admin" through as an admin, and any other text as that fleet.
type keys struct{}

func (keys) Check(_ context.Context, text string) (*apikey.Key, error) {
	if text == "" {
		return nil, apikey.ErrUnknown
	}
	if text == "admin" {
		return &apikey.Key{ID: "k-admin", Admin: true}, nil
	}
	return &apikey.Key{ID: "k-" + text, Fleet: text, Scopes: []apikey.Scope{apikey.Query}}, nil
}

func (f *fixture) serve() *httptest.Server {
	auth := &apikey.Authenticator{Keys: keys{}}
	s := httptest.NewServer(auth.Require(apikey.Route{Scope: apikey.Query, Reach: apikey.ByHandler}, Handler(f.db)))
	f.t.Cleanup(s.Close)
	return s
}

func call(t *testing.T, s *httptest.Server, key, method, path string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatalf("%s %s: %d %q", method, path, res.StatusCode, raw)
	}
	return res.StatusCode, body
}

func ids(body map[string]any) string {
	out := ""
	list, _ := body["alerts"].([]any)
	for _, a := range list {
		out += fmt.Sprint(a.(map[string]any)["alert_id"], " ")
	}
	return out
}

func TestAlert_AlertsAreFoundByWhatIsAskedFor(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		f.apply(metric("a", "opened", "d", start), metric("b", "opened", "e", start.Add(time.Minute)),
			// folded: not shown
			metric("c", "opened", "d2", start.Add(2*time.Minute)), metric("b2", "opened", "e", start.Add(3*time.Minute)),
			metric("a", "resolved", "d", start.Add(3*time.Minute)), pipeline("p", "lag", start))
		s := f.serve()
		at := func(d time.Duration) string { return url.QueryEscape(start.Add(d).Format(time.RFC3339)) }
		for query, want := range map[string]string{
			"":                            "c b a ",
			"?device=d":                   "a ",
			"?state=open":                 "c b ",
			"?state=resolved&device=d":    "a ",
			"?from=" + at(time.Minute):    "c b ",
			"?to=" + at(2*time.Minute):    "b a ",
			"?severity=critical&rule=hot": "c b a ",
			"?severity=info":              "",
		} {
			if code, body := call(t, s, "acme", "GET", "/v1/alerts"+query); code != 200 || ids(body) != want ||
				body["next"] != nil {
				t.Errorf("%s: %d %v, want %s", query, code, body, want)
			}
		}
		for key, want := range map[string]string{"other": ""} {
			if _, body := call(t, s, key, "GET", "/v1/alerts"); ids(body) != want {
				t.Errorf("%s sees %s", key, ids(body))
			}
		}
		if _, body := call(t, s, "admin", "GET", "/v1/alerts?fleet=acme"); ids(body) != "c b p a " &&
			ids(body) != "c b a p " {
			t.Errorf("an admin sees %s", ids(body))
		}
		got, cursor := "", ""
		for range 5 {
			_, body := call(t, s, "acme", "GET", "/v1/alerts?limit=1"+cursor)
			got += ids(body)
			if body["next"] == nil {
				break
			}
			cursor = "&cursor=" + body["next"].(string)
		}
		if got != "c b a " {
			t.Errorf("page by page: %s", got)
		}
		_, body := call(t, s, "acme", "GET", "/v1/alerts?device=d")
		a := body["alerts"].([]any)[0].(map[string]any)
		for k, want := range map[string]any{"alert_id": "a", "device_id": "d", "metric": "t", "rule": "hot",
			"severity": "critical", "state": "resolved",
			"value": 95.5, "at": "2026-11-20T12:00:00.000000Z", "event_id": "00000000-0000-4000-8000-000000000001"} {
			if a[k] != want {
				t.Errorf("%s is %v, want %v", k, a[k], want)
			}
		}
		for _, bad := range []string{"?state=off", "?from=yesterday", "?limit=0", "?limit=1001", "?cursor=x", "?device=%20",
			"?colour=red"} {
			if code, _ := call(t, s, "acme", "GET", "/v1/alerts"+bad); code != 400 {
				t.Errorf("%s: %d", bad, code)
			}
		}
	})
}

func TestAlert_AcknowledgingStopsTheEscalation(t *testing.T) {
	stores(t, func(t *testing.T, f *fixture) {
		f.apply(metric("a", "opened", "d", start))
		f.pass(10 * time.Second)
		s := f.serve()
		if code, _ := call(t, s, "other", "POST", "/v1/alerts/a/acknowledge"); code != 404 {
			t.Errorf("another fleet: %d", code)
		}
		for range 2 { // twice is no error
			code, body := call(t, s, "acme", "POST", "/v1/alerts/a/acknowledge")
			if code != 200 || body["state"] != stateAcknowledged || body["acknowledged_by"] != "k-acme" ||
				body["acknowledged_at"] == nil {
				t.Errorf("%d %v", code, body)
			}
		}
		if n := f.pass(time.Hour).Escalated; n != 0 {
			t.Errorf("%d escalated", n)
		}
		f.apply(metric("a", "resolved", "d", start.Add(time.Minute)))
		if code, _ := call(t, s, "acme", "POST", "/v1/alerts/a/acknowledge"); code != 409 {
			t.Errorf("a resolved one: %d", code)
		}
		if code, _ := call(t, s, "acme", "GET", "/v1/alerts/none"); code != 404 {
			t.Errorf("one that is not: %d", code)
		}
		f.apply(metric("b", "opened", "e", start))
		if code, body := call(t, s, "acme", "POST", "/v1/alerts/b/resolve"); code != 200 || body["state"] != stateResolved {
			t.Errorf("by hand: %d %v", code, body)
		}
	})
}
