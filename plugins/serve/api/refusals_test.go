package api

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
)

// A refused act has an entry in the audit log: whose key it was, when it is
// known, and never its text. A refused question has none.
func TestRefusals_OfActsAreInTheAuditLog(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	id := strings.Split(r.fleet, "_")[1]
	for _, c := range []struct{ key, method, path string }{
		{r.fleet, "POST", "/v1/keys"}, {"", "DELETE", "/v1/keys/x"}, {r.fleet, "PUT", "/registry/config"},
		{r.fleet, "GET", "/v1/keys"}, {"", "GET", "/v1/keys"}, {"", "GET", "/v1/rollups"},
	} {
		if resp, body := r.do(c.key, c.method, c.path, ""); resp.StatusCode != 401 && resp.StatusCode != 403 {
			t.Fatal(c, resp.StatusCode, body)
		}
	}
	var page auditPageJSON
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if page = r.acts(""); len(page.Acts) >= 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log has %d of three refused acts: %+v", len(page.Acts), page.Acts)
		}
	}
	if len(page.Acts) != 3 {
		t.Errorf("%d entries: %+v", len(page.Acts), page.Acts)
	}
	for _, a := range page.Acts {
		want, key := 403, id
		if a.Path == "/v1/keys/x" {
			want, key = 401, ""
		}
		if a.Status != want || a.Key != key || a.From == "" || a.Detail["detail"] == nil || a.Detail[detailRequest] == "" {
			t.Errorf("the entry is %+v", a)
		}
	}
	if text := fmt.Sprint(page.Acts); strings.Contains(text, r.fleet[len(r.fleet)-20:]) {
		t.Error("the log holds a key")
	}
}

// A flood of refusals fills neither the audit log nor memory; what has no entry
// is counted in the next that has.
func TestRefusals_AFloodIsBounded(t *testing.T) {
	rec := &recorder{acts: make(chan pendingAct, 1000)}
	res := service.MockResources()
	f := newRefusals(res.Metrics(), res.Logger(), rec)
	now := time.Now()
	f.now = func() time.Time { return now }
	why := apikey.Unchecked("", fmt.Errorf("x: %w", apikey.ErrUnknown))
	act := apikey.Route{Method: "POST", Scope: apikey.Admin}
	for range 500 {
		f.refused(httptest.NewRequest("POST", "/v1/keys", nil), "", act, why)
	}
	if n := len(rec.acts); n != refusedBurst {
		t.Fatalf("%d entries at once, want %d", n, refusedBurst)
	}
	now = now.Add(2 * time.Second)
	f.refused(httptest.NewRequest("POST", "/v1/keys", nil), "", act, why)
	var last pendingAct
	for len(rec.acts) > 0 {
		last = <-rec.acts
	}
	if detail := fmt.Sprint(last.act.Detail); !strings.Contains(detail, "470 refused acts") {
		t.Errorf("the next entry says %s", detail)
	}
	f.refused(httptest.NewRequest("GET", "/v1/keys", nil), "", apikey.Route{Method: "GET", Scope: apikey.Admin}, why)
	f.refused(httptest.NewRequest("POST", "/v1/keys", nil), "", act, apikey.Unchecked("", errors.New("the store is down")))
	if len(rec.acts) != 0 {
		t.Error("a question, or a key that could not be checked, has an entry")
	}
}
