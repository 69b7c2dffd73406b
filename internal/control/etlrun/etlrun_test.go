package etlrun

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/text"
	"weir/tests/integration/testbed"
)

func opened(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), testbed.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A run is what it told last, since it was first heard of.
func TestRun_TheLastWordCounts(t *testing.T) {
	s, ctx, lag := opened(t), t.Context(), int64(3)
	began := time.Date(2026, 11, 28, 1, 2, 3, 4000, time.UTC)
	r := Run{Pipeline: "orders", Run: "r1", Host: "a", State: Running, Stream: true, Began: began, Heard: began, Read: 1,
		Lag: &lag}
	if err := s.Put(ctx, r); err != nil {
		t.Fatal(err)
	}
	r.Began, r.Heard, r.State = began.Add(time.Hour), began.Add(time.Hour), Done
	r.Read, r.Written, r.Rejected, r.LeftOut = 9, 6, 2, 1
	r.Lag, r.Report = nil, json.RawMessage(`{"run": "r1"}`)
	if err := s.Put(ctx, r); err != nil {
		t.Fatal(err)
	}
	r.Began = began
	if got, err := s.Get(ctx, "orders", "r1"); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v, want %+v", got, err, r)
	}
	long := Run{Pipeline: "orders", Run: "r0", State: Failed, Began: began.Add(-time.Hour), Heard: began,
		Error: strings.Repeat("é\x00", 500)}
	if err := s.Put(ctx, long); err != nil {
		t.Fatal(err)
	}
	all, err := s.List(ctx, Filter{Limit: 10})
	if err != nil || len(all) != 2 || all[0].Run != "r1" || all[0].Report != nil ||
		len(all[1].Error) > mostError+len("…") ||
		!text.Storable(all[1].Error) || !strings.HasPrefix(all[1].Error, `é\u0000é`) {
		t.Errorf("%+v, %v", all, err)
	}
	for _, f := range []Filter{{State: Failed, Limit: 10}, {Pipeline: "orders", Before: began, Limit: 10}} {
		if some, err := s.List(ctx, f); err != nil || len(some) != 1 || some[0].Run != "r0" {
			t.Errorf("%+v: %+v, %v", f, some, err)
		}
	}
	if _, err := s.Get(ctx, "orders", "r2"); !errors.Is(err, errNoRun) {
		t.Error(err)
	}
	removed, err := expireRuns(ctx, s.db, expire.Pass{}, began.Add(time.Minute))
	if err != nil {
		t.Fatal(removed, err)
	}
	if left, err := s.List(ctx, Filter{Limit: 10}); err != nil || len(left) != 1 || left[0].Run != "r1" {
		t.Errorf("%+v, %v", left, err)
	}
}

func TestHandler_AnswersWhatIsAsked(t *testing.T) {
	s := opened(t)
	now := time.Now()
	if err := s.Put(t.Context(), Run{Pipeline: "a b", Run: "r/1", State: Done, Began: now, Heard: now,
		Report: json.RawMessage(`{"x":1}`)}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/v1/etl/runs": 200, "/v1/etl/runs?state=done&before=2999-01-01T00:00:00Z": 200,
		"/v1/etl/runs?state=x": 400, "/v1/etl/runs?before=x": 400, "/v1/etl/runs/a%20b/r%2F1": 200, "/v1/etl/runs/a/r": 404} {
		w := httptest.NewRecorder()
		Handler(s).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want || want == 200 && !strings.Contains(w.Body.String(), `"a b"`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	_ = s.db.Close()
	w := httptest.NewRecorder()
	Handler(s).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/etl/runs", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
