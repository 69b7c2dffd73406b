package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/control/apikey"
	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
)

// fleetKeys accepts the name of a fleet as its key, and "" as the key of an admin.
type fleetKeys struct{}

func (fleetKeys) Check(_ context.Context, text string) (*apikey.Key, error) {
	return &apikey.Key{Fleet: text, Admin: text == "", Scopes: []apikey.Scope{apikey.Query}}, nil
}

func ask(t *testing.T, h http.Handler, fleet, path string, into any) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("X-Api-Key", fleet)
	w := httptest.NewRecorder()
	(&apikey.Authenticator{Keys: fleetKeys{}}).Require(apikey.Route{Scope: apikey.Query, Unnamed: true}, h).ServeHTTP(w, r)
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: %d %.300s: %v", path, w.Code, w.Body, err)
		}
	}
	return w
}

// written stores dead letters, seven in an object, and returns the handler of the store.
func written(t *testing.T, letters []*Envelope) http.Handler {
	t.Helper()
	o := kept(t, lake.FileURL(t.TempDir()))
	for i := 0; i < len(letters); i += 7 {
		var batch service.MessageBatch
		for j, e := range letters[i:min(i+7, len(letters))] {
			batch = append(batch, message(0, i+j, mustJSON(t, e)))
		}
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	return Handler(o.Store, decided(t), func() time.Time { return someTime.Add(40 * 24 * time.Hour) })
}

// decided returns an empty store of outcomes.
func decided(t *testing.T) *Outcomes {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	outcomes, err := OpenOutcomes(t.Context(), db, event.LogTelemetry)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// Pages of any size list each dead letter once, the newest first, whether they failed in the same
// second or days apart. A fleet sees its own.
func TestDeadLetters_TheNewestFirstInPages(t *testing.T) {
	stages, codes := []string{"ingest", "raw"}, []event.Code{event.CodeInvalidJSON, event.CodeSchemaViolation}
	var letters []*Envelope
	for i := range 60 {
		at := someTime.Add(time.Duration(i/2) * time.Second) // two at the same time
		if i >= 50 {
			at = someTime.Add(time.Duration(i-49) * 3 * 24 * time.Hour)
		}
		letters = append(letters, NewEnvelope(Failure{Stage: stages[i%2], Fleet: fmt.Sprintf("f%d", i%3), FailedAt: at,
			Original: fmt.Appendf(nil, `{"n":%d}`, i), Rejection: event.Reject(codes[i/2%2], "/n", "x")}))
	}
	h := written(t, letters)
	month := "from=" + someTime.Add(-time.Hour).Format(time.RFC3339) + "&to=" +
		someTime.Add(39*24*time.Hour).Format(time.RFC3339)
	for _, c := range []struct {
		fleet, query string
		wants        func(e *Envelope) bool
	}{
		{"", month, func(*Envelope) bool { return true }},
		{"f1", month, func(e *Envelope) bool { return e.Fleet == "f1" }},
		{"f1", month + "&stage=raw&code=invalid_json,expired", func(e *Envelope) bool {
			return e.Fleet == "f1" && e.Stage == "raw" && e.Code == event.CodeInvalidJSON
		}},
		{"nobody", month, func(*Envelope) bool { return false }},
		{"", "", func(*Envelope) bool { return false }}, // the last day
	} {
		var want []string
		for _, e := range letters {
			if c.wants(e) {
				want = append(want, e.FailedAt+" "+e.ID)
			}
		}
		slices.Sort(want)
		slices.Reverse(want)
		for _, limit := range []int{1, 4, 50, 500} {
			var got []string
			cursor := ""
			for range 100 {
				var page pageJSON
				ask(t, h, c.fleet, fmt.Sprintf("/v1/dead-letters?limit=%d&%s&cursor=%s", limit, c.query, cursor), &page)
				for _, l := range page.Letters {
					got = append(got, l.FailedAt+" "+l.ID)
					if l.Size == 0 || string(l.Errors) != `[{"pointer":"/n","message":"x"}]` {
						t.Errorf("%+v", l)
					}
				}
				if page.Next == nil {
					break
				}
				cursor = *page.Next
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s %s in pages of %d: listed\n%q, want\n%q", c.fleet, c.query, limit, got, want)
			}
		}
	}
	for _, query := range []string{"code=no_such", "limit=0", "limit=501", "from=yesterday", "cursor=x", "wat=1",
		"from=2026-01-01T00:00:00Z&to=2025-01-01T00:00:00Z", "from=1900-01-01T00:00:00Z"} {
		if w := ask(t, h, "f1", "/v1/dead-letters?"+query, nil); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", query, w.Code)
		}
	}
}

// The answer for a dead letter of any bytes is JSON of bounded size, which says how the bytes are
// encoded and whether they are cut. Another fleet gets 404.
func TestDeadLetters_AnyBytesAreShownSafely(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000)
	for name, c := range map[string]struct {
		original         []byte
		encoding         string
		cut, json, whole bool
	}{
		"JSON":              {[]byte(`{"device_id":"<b>\"'","x":"]]]["}`), "utf8", false, true, true},
		"text, not JSON":    {[]byte("no JSON \u202e\u0000\x1b[31m"), "utf8", false, false, true},
		"empty":             {nil, "utf8", false, false, true},
		"not UTF-8":         {[]byte{0xff, 0xfe, 0x00, '{'}, "base64", false, false, true},
		"nested 1,000 deep": {[]byte(deep), "utf8", false, false, true},
		"large":             {bytes.Repeat([]byte("x"), 300<<10), "utf8", true, false, false},
		"large, multi-byte": {append([]byte("x"), bytes.Repeat([]byte("€"), 100<<10)...), "utf8", true, false, false},
		"8 MiB of bytes":    {bytes.Repeat([]byte{0xfe}, 8<<20), "base64", true, false, false},
	} {
		e := NewEnvelope(Failure{Stage: "ingest", Fleet: "f", FailedAt: someTime, Original: c.original,
			Rejection: event.Reject(event.CodeInvalidJSON, "", "x")})
		h := written(t, []*Envelope{e})
		for _, query := range []string{"?failed_at=" + url.QueryEscape(e.FailedAt), ""} {
			var got wholeJSON
			w := ask(t, h, "f", "/v1/dead-letters/"+e.ID+query, &got)
			if got.Encoding != c.encoding || got.Cut != c.cut || got.JSON != c.json || got.Size != int64(len(c.original)) ||
				w.Body.Len() > 2<<20 || c.whole && c.encoding == "utf8" && got.Original != string(c.original) {
				t.Errorf("%s: %s, cut: %v, JSON: %v, of %d bytes; the answer has %d", name, got.Encoding, got.Cut, got.JSON,
					got.Size, w.Body.Len())
			}
		}
		// The download has the whole original, or as much as could be stored.
		var got wholeJSON
		ask(t, h, "f", "/v1/dead-letters/"+e.ID, &got)
		w := ask(t, h, "f", "/v1/dead-letters/"+e.ID+"/original?failed_at="+url.QueryEscape(e.FailedAt), nil)
		if w.Code != http.StatusOK || !bytes.HasPrefix(c.original, w.Body.Bytes()) || got.Stored != int64(w.Body.Len()) ||
			w.Body.Len() < min(len(c.original), 5<<20) || w.Header().Get("Content-Disposition") == "" ||
			w.Header().Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: the download: %d %v, %d of %d bytes; %d are stored", name, w.Code, w.Header(), w.Body.Len(),
				len(c.original), got.Stored)
		}
		for _, part := range []string{"", "/original"} {
			if w := ask(t, h, "other", "/v1/dead-letters/"+e.ID+part, nil); w.Code != http.StatusNotFound {
				t.Errorf("%s: another fleet: %d", name, w.Code)
			}
		}
	}
	h := written(t, nil)
	for _, id := range []string{"x", "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f"} {
		if w := ask(t, h, "f", "/v1/dead-letters/"+id, nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", id, w.Code)
		}
	}
	if w := ask(t, h, "f", "/v1/dead-letters/0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f?failed_at=x", nil); w.Code != 400 {
		t.Errorf("a wrong time: %d", w.Code)
	}
}
