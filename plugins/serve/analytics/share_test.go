package analytics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/platform/live"
)

// fleetKeys are keys that are named as their fleets.
type fleetKeys struct{}

func (fleetKeys) Check(_ context.Context, key string) (*apikey.Key, error) {
	return &apikey.Key{Fleet: key, Scopes: []apikey.Scope{apikey.Query}}, nil
}

// erasing are the erasures that there were, and whether one is under way.
type erasing struct {
	were int
	open bool
	err  error
}

func (e *erasing) Quiet(context.Context) (string, bool, error) {
	return fmt.Sprint(e.were), !e.open, e.err
}

// An answer is of one question of one fleet, and of before or after an erasure; while one
// is under way, each is asked anew. Failures are not kept.
func TestAnalytics_WhoSharesAnAnswer(t *testing.T) {
	erasures, asked, fails := &erasing{}, 0, error(nil)
	h := &handler{clock: time.Now, erasures: erasures, shared: live.Shared{Keep: time.Hour, Most: 1 << 20}}
	handlers := map[string]http.Handler{}
	for _, kind := range []string{"users", "events"} {
		handlers[kind] = (&apikey.Authenticator{Keys: fleetKeys{}}).Require(apikey.Route{Scope: apikey.Query},
			h.answering(kind, func(context.Context, *query) (any, error) { asked++; return asked, fails }))
	}
	ask := func(fleet, kind, query string) (status int, answer string) {
		req := httptest.NewRequest("GET", "/v1/analytics/"+kind+query, nil)
		req.Header.Set("X-API-Key", fleet)
		rec := httptest.NewRecorder()
		handlers[kind].ServeHTTP(rec, req)
		return rec.Code, rec.Body.String()
	}
	want := func(fleet, kind, query string, n int) {
		t.Helper()
		if status, got := ask(fleet, kind, query); status != http.StatusOK || got != fmt.Sprintln(n) {
			t.Errorf("%s asks for %s%s: %d %s, not %d", fleet, kind, query, status, got, n)
		}
	}
	want("shop", "users", "", 1)
	want("shop", "users", "", 1)
	want("shop", "users", "?step=1h&limit=9", 2)
	want("shop", "users", "?limit=9&step=1h", 2)
	want("shop", "events", "", 3)
	want("other", "users", "", 4)
	want("shop", "users", "", 1)
	erasures.open = true
	want("shop", "users", "", 5)
	want("shop", "users", "", 6)
	erasures.open, erasures.were = false, 1
	want("shop", "users", "", 7)
	want("shop", "users", "", 7)
	fails = errors.New("down")
	if status, got := ask("shop", "users", "?step=1d"); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, got)
	}
	fails = nil
	want("shop", "users", "?step=1d", 9)
	erasures.err = errors.New("down")
	if status, got := ask("shop", "users", ""); status != http.StatusServiceUnavailable {
		t.Errorf("without knowing of erasures: %d %s", status, got)
	}
}
