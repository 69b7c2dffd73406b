package rollup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// contract checks responses against openapi.json, whose schemas are JSON Schema 2020-12, as in
// OpenAPI 3.1.
type contract struct{ t *testing.T }

func (c contract) check(operation string, status int, body []byte) {
	c.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Ref string `json:"$ref"`
			}
		}
	}
	if err := json.Unmarshal(OpenAPI(), &doc); err != nil {
		c.t.Fatal(err)
	}
	r, ok := doc.Paths[operation]["get"].Responses[fmt.Sprint(status)]
	if !ok {
		c.t.Fatalf("%s does not describe status %d: %s", operation, status, body)
	}
	media, at := "application~1json", "#/paths/"+strings.ReplaceAll(operation, "/", "~1")+"/get/responses/"+
		fmt.Sprint(status)
	if r.Ref != "" {
		media, at = "application~1problem+json", r.Ref
	}
	compiler := jsonschema.NewCompiler()
	compiler.Draft = jsonschema.Draft2020
	compiler.AssertFormat = true
	if err := compiler.AddResource("openapi.json", bytes.NewReader(OpenAPI())); err != nil {
		c.t.Fatal(err)
	}
	schema, err := compiler.Compile("openapi.json#" + strings.TrimPrefix(at, "#") + "/content/" + media + "/schema")
	if err != nil {
		c.t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		c.t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		c.t.Errorf("%s %d: %#v\n%s", operation, status, err, body)
	}
}

func TestRollup_AnswersFitTheContract(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
	for n := range 20 {
		add(t, s, noon, windowsOf(t, "acme", testEvent(n, fmt.Sprintf("d%d", n%4), noon.Add(-time.Duration(n)*time.Second),
			`{"x":1.5,"y":-2}`)))
	}
	h := Handler(s, func() time.Time { return noon.Add(time.Second) })
	const rollups, latest = "/v1/rollups", "/v1/devices/{id}/latest"
	for _, c := range []struct {
		operation, path string
		status          int
		says            string // part of the problem's detail
	}{
		{rollups, "/v1/rollups?device=d0", 200, ""},
		{rollups, "/v1/rollups?device=d0,d1&metric=x&limit=1", 200, ""},
		{rollups, "/v1/rollups?merge=fleet&resolution=1h", 200, ""},
		{rollups, "/v1/rollups?merge=fleet&resolution=1d&device=d1", 200, ""},
		{rollups, "/v1/rollups?device=nobody", 200, ""},
		{rollups, "/v1/rollups?device=d0&from=2026-11-21T13:00:00+01:00&to=2026-11-21T12:30:00Z", 200, ""},
		{rollups, "/v1/rollups", 400, "device: missing; name one"},
		{rollups, "/v1/rollups?device=", 400, "is no device_id"},
		{rollups, "/v1/rollups?device=d0&from=yesterday", 400, "expected RFC 3339"},
		{rollups, "/v1/rollups?device=d0&from=2026-11-21T12:00:00", 400, "expected RFC 3339"},
		{rollups, "/v1/rollups?device=d0&from=2026-11-22T00:00:00Z", 400, "expected a time before to"},
		{rollups, "/v1/rollups?device=d0&from=2026-01-01T00:00:00Z&resolution=1m", 400, "at most 31 days"},
		{rollups, "/v1/rollups?device=d0&from=0001-01-01T00:00:00Z&to=9999-01-01T00:00:00Z", 400, "shorter"},
		{rollups, "/v1/rollups?device=d0&resolution=5m", 400, "expected 1m, 1h, 1d or auto"},
		{rollups, "/v1/rollups?device=d0&limit=0", 400, "expected 1 to 10000"},
		{rollups, "/v1/rollups?device=d0&limit=x", 400, "expected 1 to 10000"},
		{rollups, "/v1/rollups?device=d0&merge=all", 400, "expected fleet"},
		{rollups, "/v1/rollups?device=d0&merge=fleet&merge=none", 400, "more than once"},
		{rollups, "/v1/rollups?device=d0&devcie=d1", 400, "unknown"},
		{rollups, "/v1/rollups?device=d0&cursor=!", 400, "take it from next"},
		{rollups, "/v1/rollups?device=%zz", 400, "not valid"},
		{rollups, "/v1/rollups?device=" + strings.Repeat("x,", 100) + "x,y", 200, ""},
		{latest, "/v1/devices/d0/latest", 200, ""},
		{latest, "/v1/devices/nobody/latest", 404, "after its first accepted event"},
		{latest, "/v1/devices/no%20body/latest", 400, "expected a device_id"},
	} {
		w := get(t, h, "acme", c.path, nil)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s, expected %d with %q", c.path, w.Code, w.Body, c.status, c.says)
			continue
		}
		contract{t}.check(c.operation, w.Code, w.Body.Bytes())
	}
}

func TestRollup_CursorOfAnotherQueryIsRefused(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
	add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1,"y":2}`)))
	h := Handler(s, func() time.Time { return noon.Add(time.Second) })
	var page pageJSON
	get(t, h, "acme", "/v1/rollups?device=a&limit=1", &page)
	if page.Next == nil {
		t.Fatal("expected a second page")
	}
	for _, other := range []struct{ fleet, query string }{{"acme", "device=b"}, {"acme", "device=a&metric=x"},
		{"other", "device=a"}} {
		if w := get(t, h, other.fleet, "/v1/rollups?"+other.query+"&cursor="+*page.Next,
			nil); w.Code != http.StatusBadRequest {
			t.Errorf("%v: %d %s", other, w.Code, w.Body)
		}
	}
}

// A key sees only its own fleet, also if another fleet has devices of the same name.
func TestRollup_FleetsNeverMeet(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
	add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", noon, `{"x":1}`)))
	add(t, s, noon, windowsOf(t, "other", testEvent(1, "a", noon, `{"x":100}`)))
	h := Handler(s, func() time.Time { return noon.Add(time.Second) })
	for fleet, want := range map[string]float64{"acme": 1, "other": 100} {
		for _, q := range []string{"device=a", "merge=fleet", "merge=fleet&resolution=1d"} {
			var page pageJSON
			get(t, h, fleet, "/v1/rollups?"+q, &page)
			if len(page.Rollups) != 1 || page.Rollups[0].Sum != want || page.Rollups[0].Count != 1 {
				t.Errorf("%s sees %+v with %s", fleet, page.Rollups, q)
			}
		}
	}
	if w := get(t, h, "third", "/v1/devices/a/latest", nil); w.Code != http.StatusNotFound {
		t.Errorf("a third fleet: %d %s", w.Code, w.Body)
	}
}

// The quantiles of a merged line are those of all readings together, in every resolution, whether
// hours are rolled or not.
func TestRollup_MergedQuantilesAreOfAllReadings(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s := openStore(t, fresh())
		var bodies []string
		for n := range 1000 { // one hot device among many cold ones: averaging quantiles would be far off
			device, v := fmt.Sprintf("cold-%d", n%50), float64(n%10)+1
			if n%5 == 0 {
				device, v = "hot", float64(n)+1000
			}
			bodies = append(bodies, testEvent(n, device, noon.Add(-time.Duration(n)*2*time.Second), fmt.Sprintf(`{"x":%v}`, v)))
		}
		add(t, s, noon, windowsOf(t, "acme", bodies...))
		for range 2 {
			for _, resolution := range []string{"1m", "1h", "1d"} {
				h := Handler(s, func() time.Time { return noon.Add(time.Second) })
				var page pageJSON
				path := "/v1/rollups?merge=fleet&from=2026-11-21T00:00:00Z&resolution=" + resolution
				if w := get(t, h, "acme", path, &page); w.Code != 200 {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
				var count int64
				for _, l := range page.Rollups {
					count += l.Count
				}
				if count != 1000 {
					t.Errorf("%s: %d readings, expected 1000", resolution, count)
				}
				if last := page.Rollups[len(page.Rollups)-1]; resolution == "1d" &&
					(last.Devices != 41 || math.Abs(last.P50-7) > 0.07 || math.Abs(last.P95-1745) > 17.45) {
					t.Errorf("merged: %+v", last)
				}
			}
			finish(t, s) // and again with everything rolled
		}
	})
}

// If its store cannot be reached the API says so, but not where the store is.
func TestRollup_QueryWithoutItsStoreIsAProblem(t *testing.T) {
	s := openStore(t, "sqlite://"+t.TempDir()+"/r.db")
	h := Handler(s, time.Now)
	if err := viewDB(s).Close(); err != nil {
		t.Fatal(err)
	}
	for operation, path := range map[string]string{"/v1/rollups": "/v1/rollups?device=a",
		"/v1/devices/{id}/latest": "/v1/devices/a/latest"} {
		w := get(t, h, "acme", path, nil)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(),
			"sql") {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
		contract{t}.check(operation, w.Code, w.Body.Bytes())
	}
}

func TestRollup_OnlyGetIsAllowed(t *testing.T) {
	h := Handler(openStore(t, "sqlite://"+t.TempDir()+"/r.db"), time.Now)
	for operation, path := range map[string]string{"/v1/rollups": "/v1/rollups?device=a",
		"/v1/devices/{id}/latest": "/v1/devices/a/latest"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("DELETE", path, nil))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		contract{t}.check(operation, w.Code, w.Body.Bytes())
	}
}
