package raw

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/plugins/store/lake"
)

// anyKey lets every request through as a query key of fleet acme.
type anyKey struct{}

func (anyKey) Check(context.Context, string) (*apikey.Key, error) {
	return &apikey.Key{Fleet: "acme", Scopes: []apikey.Scope{apikey.Query}}, nil
}

type eventsJSON struct {
	Events []map[string]any `json:"events"`
	Next   *string          `json:"next"`
}

func served(t testing.TB, o *output) func(url.Values, ...string) (*httptest.ResponseRecorder, eventsJSON) {
	auth := &apikey.Authenticator{Keys: anyKey{}}
	h := auth.Require(apikey.Route{Scope: apikey.Query}, Handler(o.Store, func() time.Time {
		return noon.AddDate(0, 0, 5)
	}))
	return func(v url.Values, accept ...string) (*httptest.ResponseRecorder, eventsJSON) {
		t.Helper()
		req := httptest.NewRequest(http.MethodGet, "/v1/events?"+v.Encode(), nil)
		req.Header.Set("X-API-Key", "k")
		if accept != nil {
			req.Header.Set("Accept", accept[0])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		var page eventsJSON
		if w.Code == http.StatusOK && w.Header().Get("Content-Type") == formatJSON {
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
		}
		return w, page
	}
}

func TestRaw_PagesHoldEveryEventOfTheFleetOnce(t *testing.T) {
	o, rows := history(t, rand.New(rand.NewPCG(9, 9)), "")
	get := served(t, o)
	want := positions(rows, func(r *Row) bool { return r.Fleet == "acme" && r.At < noon.Add(40*time.Hour).UnixMicro() })
	for _, format := range []string{"json", "ndjson"} {
		v := url.Values{"from": {"2026-11-20T00:00:00Z"}, "to": {"2026-11-22T04:00:00Z"}, "limit": {"37"},
			"fields": {"event_id,coordinates,device_id"}, "format": {format}}
		var got []string
		for pages := 0; ; pages++ {
			w, page := get(v)
			if w.Code != http.StatusOK {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			next := w.Header().Get(nextHeader)
			if format == "json" {
				for _, e := range page.Events {
					got = append(got, e["coordinates"].(string))
				}
				if (page.Next == nil) != (next == "") {
					t.Fatal("body and header disagree about the next page")
				}
			} else {
				for _, line := range strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n") {
					var e map[string]string
					if err := json.Unmarshal([]byte(line), &e); err != nil {
						t.Fatal(err)
					}
					got = append(got, e["coordinates"])
				}
			}
			if next == "" {
				break
			}
			v.Set("cursor", next)
		}
		if len(got) != len(want) {
			t.Fatalf("%s: got %d events, want %d", format, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i].Delivery.String() {
				t.Fatalf("%s: event %d is %s, want %s", format, i, got[i], want[i].Delivery)
			}
		}
	}
}

func TestRaw_AnEventIsAnsweredWithAllThatIsKnownOfIt(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	sent := `{"event_id":"0F8FAD5B-d9cb-469f-a165-70867728950e","device_id":"d1","device_firmware_version":"2.1","timestamp":"2026-11-20T12:00:00.5+00:00","metrics":{"a":1.50,"b":2},"diagnostics":{"x":[1]},"event":"theirs"}`
	msg := record(1, 2, sent, noon)
	msg.MetaSetMut("weir_flags", "late,clock_ahead")
	if err := o.WriteBatch(context.Background(), service.MessageBatch{msg}); err != nil {
		t.Fatal(err)
	}
	get := served(t, o)
	v := url.Values{"from": {"2026-11-20T11:00:00Z"}, "to": {"2026-11-20T13:00:00Z"}}
	w, page := get(v)
	want := map[string]any{"event_id": "0f8fad5b-d9cb-469f-a165-70867728950e", "device_id": "d1",
		"device_firmware_version": "2.1",
		"timestamp":               "2026-11-20T12:00:00.500Z", "effective_time": "2026-11-20T12:00:00Z",
		"received_at": "2026-11-20T12:00:00Z",
		"schema":      "telemetry/2", "flags": []any{"late", "clock_ahead"}, "metrics": map[string]any{"a": 1.5, "b": 2.0},
		"diagnostics": map[string]any{"x": []any{1.0}}, "extra": map[string]any{"event": "theirs"}}
	if len(page.Events) != 1 || fmt.Sprint(page.Events[0]) != fmt.Sprint(want) || page.Next != nil {
		t.Fatalf("got %s", w.Body)
	}
	v.Set("fields", "event")
	v.Set("metric", "b")
	_, page = get(v)
	raw, err := json.Marshal(page.Events[0]["event"])
	if err != nil || !sameJSON(t, raw, []byte(sent)) {
		t.Fatalf("got %s, %v", raw, err)
	}
	v.Set("fields", "device_id,metrics,diagnostics,received_at")
	w, _ = get(v, "text/csv")
	lines, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || fmt.Sprint(lines) != `[[device_id metrics diagnostics received_at] [d1 {"b":2} {"x":[1]} 2026-11-20T12:00:00Z]]` {
		t.Fatalf("got %v, %v", lines, err)
	}
	v.Set("metric", "c")
	v.Del("fields")
	if _, page = get(v); len(page.Events) != 0 {
		t.Fatalf("events without the metric: %v", page.Events)
	}
}

func TestRaw_AWrongQueryIsRefusedWithTheParameter(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	get := served(t, o)
	for query, parameter := range map[string]string{
		"device=a%20b": "device", "from=yesterday": "from", "to=2026-11-20": "to", "limit=0": "limit", "limit=10001": "limit",
		"fields=nope": "fields", "fields=event,event": "fields", "format=xml": "format", "cursor=x": "cursor",
		"what=1": "what",
		"from=2026-11-20T12:00:00Z&to=2026-11-20T12:00:00Z": "from", "from=2020-11-20T12:00:00Z": "from",
		"metric=a&metric=b": "metric",
	} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		w, _ := get(v)
		var p struct {
			Parameter string `json:"parameter"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusBadRequest ||
			p.Parameter != parameter {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

func TestRaw_ACursorOfAnotherQueryIsRefused(t *testing.T) {
	o, _ := history(t, rand.New(rand.NewPCG(9, 9)), "")
	get := served(t, o)
	v := url.Values{"from": {"2026-11-20T00:00:00Z"}, "limit": {"1"}}
	_, page := get(v)
	v.Set("cursor", *page.Next)
	v.Set("device", "d01")
	if w, _ := get(v); w.Code != http.StatusBadRequest {
		t.Fatalf("got %d", w.Code)
	}
}
