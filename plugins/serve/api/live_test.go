package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/plugins/serve/overview"
)

// viewer reads an answer of /v1/live.
type viewer struct {
	running
	lines *bufio.Scanner
	leave func()
}

// watch looks until the end of the test, and longer: who serves must not wait.
func (r running) watch(key string) (*viewer, *http.Response) {
	r.t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/v1/live", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { leave(); resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &viewer{r, lines, leave}, resp
}

// next returns the next event.
func (v *viewer) next() (id, name, data string) {
	v.t.Helper()
	for v.lines.Scan() {
		field, value, _ := strings.Cut(v.lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if name != "" {
				return id, name, data
			}
		}
	}
	return "", "", ""
}

func (v *viewer) view() (view overview.View) {
	v.t.Helper()
	_, name, data := v.next()
	if err := json.Unmarshal([]byte(data), &view); name != "overview" || err != nil {
		v.t.Fatalf("event %q: %v", name, err)
	}
	return view
}

// Each event is an overview of what the key may know; a proxy is asked not to
// collect them.
func TestLive_AnOverviewASecondOfTheKeysFleet(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	v, resp := r.watch(r.fleet)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Accel-Buffering") != "no" ||
		resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatal(resp.Status, resp.Header)
	}
	first, second := v.view(), v.view()
	if first.Fleet == nil || *first.Fleet != "plant-1" || !second.At.After(first.At) {
		t.Errorf("%+v, then %+v", first, second)
	}
	all, _ := r.watch(r.admin)
	if view := all.view(); view.Fleet != nil || view.Unknown["equation"] == "" {
		t.Errorf("an admin's: %+v", view)
	}
}

// What is shown is made once for all who look, not once for each.
func TestLive_ViewersShareWhatTheyAreShown(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	const viewers, each = 20, 4
	var mu sync.Mutex
	made, sent := map[time.Time]int{}, 0
	var all sync.WaitGroup
	var look []*viewer
	for range viewers {
		v, _ := r.watch(r.admin)
		look = append(look, v)
	}
	begin := time.Now() // all of them look
	for _, v := range look {
		all.Go(func() {
			before := time.Time{}
			for n := 0; n < each; {
				_, _, data := v.next()
				var view overview.View
				if err := json.Unmarshal([]byte(data), &view); err != nil || !view.At.After(before) {
					t.Errorf("after %s comes %q: %v", before, data, err)
					return
				}
				if before = view.At; before.Before(begin) {
					continue
				}
				n++
				mu.Lock()
				made[view.At]++
				sent++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if sent != viewers*each || len(made) > sent/2 { // about ten for each second, on a machine that keeps up
		t.Errorf("%d overviews were made to send %d", len(made), sent)
	}
	t.Logf("%d overviews were made to send %d", len(made), sent)
}

func TestLive_EndsWhenTheKeyIsRevoked(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	key := r.key(`{"fleet":"plant-1","scopes":["query"]}`)
	v, _ := r.watch(key)
	v.view()
	if resp, body := r.do(r.admin, "DELETE", "/v1/keys/"+strings.Split(key, "_")[1],
		""); resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.StatusCode, body)
	}
	began := time.Now()
	for {
		_, name, data := v.next()
		if name == "end" {
			if data != `{"reason":"key_revoked"}` || v.lines.Scan() {
				t.Errorf("it ends with %s", data)
			}
			break
		}
		if name == "" || time.Since(began) > 30*time.Second {
			t.Fatalf("event %q, %s after the key was revoked", name, time.Since(began))
		}
	}
}

// As many look as may; who leaves makes room. A listener that stops tells those
// who still look, and does not wait for them.
func TestLive_OneViewerTooManyIsTold(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	var viewers []*viewer
	for range 50 {
		v, resp := r.watch(r.fleet)
		if resp.StatusCode != http.StatusOK {
			t.Fatal(len(viewers), resp.Status)
		}
		viewers = append(viewers, v)
	}
	resp, body := r.do(r.fleet, "GET", "/v1/live", "")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" ||
		!strings.Contains(body, "too-many-viewers") || !strings.Contains(body, "50 look already") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	viewers[7].leave()
	for began := time.Now(); ; {
		if resp, _ = r.do(r.fleet, "GET", "/v1/live", ""); resp.StatusCode == http.StatusOK {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal("no room though one has left")
		}
	}
	r.stop()
	for _, v := range viewers[8:12] {
		name, data := "", ""
		for name != "end" {
			if _, name, data = v.next(); name == "" {
				t.Fatal("it ended without a word")
			}
		}
		if data != `{"reason":"stopping"}` {
			t.Errorf("it ends with %s", data)
		}
	}
}

// What is of all fleets, a fleet's key is not told, nor is an admin who looks for
// one fleet.
func TestOverview_AFleetSeesItsOwn(t *testing.T) {
	r := start(t, "audit_log: { url: CONTROL }")
	for _, c := range []struct{ key, query string }{{r.fleet, ""}, {r.admin, "?fleet=plant-1"}} {
		resp, body := r.do(c.key, "GET", "/v1/overview"+c.query, "")
		var v overview.View
		if err := json.Unmarshal([]byte(body), &v); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, err, body)
		}
		if v.Fleet == nil || *v.Fleet != "plant-1" || v.Equation != nil || v.Rates != nil || v.Latency != nil ||
			len(v.Groups)+len(v.Stores)+len(v.Processes) > 0 || v.Alerts == nil {
			t.Errorf("%s", body)
		}
		for _, part := range []string{"equation", "rates", "latency", "groups", "stores", "processes"} {
			if v.Unknown[part] == "" {
				t.Errorf("nothing says why %s is not known: %s", part, body)
			}
		}
	}
	if resp, body := r.do(r.fleet, "GET", "/v1/overview?fleet=plant-2", ""); resp.StatusCode != http.StatusForbidden {
		t.Errorf("another fleet: %d %s", resp.StatusCode, body)
	}
	var v overview.View
	_, body := r.do(r.admin, "GET", "/v1/overview", "")
	if err := json.Unmarshal([]byte(body), &v); err != nil || v.Fleet != nil || len(v.Stores) != 2 ||
		!slices.ContainsFunc(v.Stores, func(s overview.Store) bool { return s.Name == "rollups" && s.Up != nil && *s.Up }) {
		t.Errorf("an admin's: %v %s", err, body)
	}
}
