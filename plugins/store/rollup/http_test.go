package rollup

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/event"
)

type allKeys struct{}

func (allKeys) Check(_ context.Context, text string) (*apikey.Key, error) {
	return &apikey.Key{Fleet: text, Scopes: []apikey.Scope{apikey.Query}}, nil
}

// get sends a request of a fleet to the handler, and decodes the response.
func get(t *testing.T, h http.Handler, fleet, path string, into any) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("X-Api-Key", fleet)
	w := httptest.NewRecorder()
	(&apikey.Authenticator{Keys: allKeys{}}).Require(apikey.Route{Scope: apikey.Query}, h).ServeHTTP(w, r)
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %d %s: %v", path, w.Code, w.Body, err)
		}
	}
	return w
}

// windowsOf returns the windows of events, as the processor makes them.
func windowsOf(t testing.TB, fleet string, bodies ...string) []*Window {
	t.Helper()
	c := NewCollector(len(bodies))
	for _, body := range bodies {
		var e event.Event
		if err := event.Parse([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		c.Add(fleet, &e, e.Time, "", "", false)
	}
	return c.Windows()
}

func add(t testing.TB, s *Store, now time.Time, windows []*Window) Result {
	t.Helper()
	res, err := s.Add(context.Background(), windows, now)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestRollup_PagesHoldEveryLineOnce(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
	n := 0
	for _, device := range []string{"b", "a", "c"} {
		for m := range 7 {
			n++
			add(t, s, noon, windowsOf(t, "acme", testEvent(n, device, noon.Add(-time.Duration(m)*time.Minute), `{"x":1,"y":2}`)))
		}
	}
	h := Handler(s, func() time.Time { return noon.Add(time.Second) })
	for _, limit := range []string{"1", "2", "3", "5", "42", "100"} {
		seen := map[string]int{}
		q := url.Values{"device": {"a,b", "c"}, "limit": {limit}}
		for {
			var page pageJSON
			if w := get(t, h, "acme", "/v1/rollups?"+q.Encode(), &page); w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			for _, l := range page.Rollups {
				seen[*l.Device+l.Bucket+l.Metric]++
			}
			if page.Next == nil {
				break
			}
			q.Set("cursor", *page.Next)
		}
		if len(seen) != 42 {
			t.Errorf("limit %s: %d lines, expected 42", limit, len(seen))
		}
		for k, n := range seen {
			if n != 1 {
				t.Errorf("limit %s: %s came %d times", limit, k, n)
			}
		}
	}
}

// A group has thousands of devices, of which few report: the pages have every line once, and no
// page reads the store without end.
func TestRollup_ALargeGroupIsAnsweredInPages(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
	q := url.Values{"from": {noon.AddDate(0, 0, -30).Format(time.RFC3339)}, "to": {noon.Format(time.RFC3339)},
		"resolution": {"1m"}, "limit": {"10"}}
	for i := range 5000 {
		q.Add("device", fmt.Sprintf("d%04d", i))
	}
	want := 0
	for i := 7; i < 5000; i += 250 {
		for m := range 3 {
			want++
			add(t, s, noon, windowsOf(t, "acme", testEvent(want, fmt.Sprintf("d%04d", i),
				noon.Add(-time.Duration(m*m)*24*time.Hour-time.Minute), `{"x":1}`)))
		}
	}
	add(t, s, noon, windowsOf(t, "other", testEvent(want+1, "d0000", noon.Add(-time.Minute), `{"x":9}`)))
	h := Handler(s, func() time.Time { return noon })
	for _, from := range []time.Duration{-30 * 24 * time.Hour, -10 * time.Minute} {
		q.Set("from", noon.Add(from).Format(time.RFC3339))
		q.Del("cursor")
		seen, pages, began := map[string]bool{}, 0, time.Now()
		for {
			var page pageJSON
			if w := get(t, h, "acme", "/v1/rollups?"+q.Encode(), &page); w.Code != http.StatusOK {
				t.Fatal(w.Code, w.Body)
			}
			for _, l := range page.Rollups {
				key := *l.Device + l.Bucket
				if seen[key] || l.Max != 1 {
					t.Fatalf("%+v", l)
				}
				seen[key] = true
			}
			if pages++; page.Next == nil {
				break
			}
			q.Set("cursor", *page.Next)
		}
		if expected := map[bool]int{true: want, false: 20}[from < -time.Hour]; len(seen) != expected {
			t.Fatalf("%d lines of %d on %d pages", len(seen), expected, pages)
		}
		t.Logf("%d pages in %s", pages, time.Since(began))
	}
}
