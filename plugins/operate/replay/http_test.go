package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

func ask(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func testGroups(_ context.Context, fleet, name string) ([]string, error) {
	if name != "press-line" {
		return nil, ErrNotFound
	}
	return []string{"pump-1", fleet + "-2"}, nil
}

func TestReplay_AJobIsMadeOverHTTPAndWhatIsWrongIsSaid(t *testing.T) {
	h := Handler(newWorld(t).jobs, testGroups, newWorld(t).kept())
	status, body := ask(t, h, "POST", "/v1/replays", `{"mode":"reprocess","from":"2026-11-20T10:00:00Z","to":"2026-11-20T11:00:00Z","fleet":"a","group":"press-line","reason":"why"}`)
	var j Job
	if err := json.Unmarshal([]byte(body), &j); err != nil || status != http.StatusCreated || j.State != Queued ||
		fmt.Sprint(j.Devices) != "[pump-1 a-2]" {
		t.Fatal(status, body, err)
	}
	if status, body = ask(t, h, "GET", "/v1/replays?state=queued", ""); status != 200 || !strings.Contains(body, j.ID) {
		t.Fatal(status, body)
	}
	for _, act := range []struct {
		act  string
		want int
	}{{"resume", 409}, {"pause", 200}, {"pause", 409}, {"resume", 200}, {"cancel", 200}, {"cancel", 409}} {
		if status, body = ask(t, h, "POST", "/v1/replays/"+j.ID+"/"+act.act, ""); status != act.want {
			t.Fatalf("%s: %d %s", act.act, status, body)
		}
	}
	if status, _ = ask(t, h, "GET", "/v1/replays/none", ""); status != 404 {
		t.Fatal(status)
	}
	const hour = `"from":"2026-11-20T10:00:00Z","to":"2026-11-20T11:00:00Z","reason":"why"`
	for body, says := range map[string]string{
		`{"mode":"reprocess","reason":"why"}`:                                        "from and to",
		`{"mode":"repeat",` + hour + `}`:                                             "mode",
		`{"mode":"rebuild",` + hour + `,"targets":["raw"]}`:                          "targets",
		`{"mode":"reprocess",` + hour + `,"targets":["x"]}`:                          "targets",
		`{"mode":"reprocess",` + hour + `,"devices":["a b"]}`:                        "devices",
		`{"mode":"reprocess",` + hour + `,"group":"none"}`:                           "no group",
		`{"mode":"reprocess",` + hour + `,"codes":["x"]}`:                            "redrive",
		`{"mode":"redrive","reason":"why","codes":["x"]}`:                            "codes",
		`{"mode":"redrive","reason":"why","patch":"root = ("}`:                       "patch",
		`{"mode":"redrive"}`:                                                         "reason",
		`{"mode":"redrive","reason":"why","log":"users"}`:                            "user-events",
		`{"mode":"rebuild","log":"user-events",` + hour + `}`:                        "rollups",
		`{"mode":"reprocess","log":"user-events",` + hour + `,"targets":["rollup"]}`: "targets",
		`{"mode":"redrive","reason":"why","no_such_field":true}`:                     "no_such_field",
		`{"mode":"redrive","reason":"why","fleet":"not a fleet"}`:                    "fleet",
	} {
		if status, answer := ask(t, h, "POST", "/v1/replays", body); status != 400 || !strings.Contains(answer, says) {
			t.Errorf("%s was answered %d %s", body, status, answer)
		}
	}
}

func TestReplay_JobsLiveInPostgresToo(t *testing.T) {
	db, err := sqldb.Open(t.Context(), require.Env(t, "WEIR_TEST_POSTGRES_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := OpenStore(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `DELETE FROM replay_job`); err != nil {
		t.Fatal(err)
	}
	j, err := s.Create(t.Context(), Spec{Mode: Redrive, Reason: "why"}, "key", "")
	if err != nil {
		t.Fatal(err)
	}
	taken, err := s.take(t.Context(), "a", event.LogTelemetry)
	if err != nil || taken == nil || taken.ID != j.ID {
		t.Fatal(taken, err)
	}
	if state, err := s.save(t.Context(), "a", taken, Progress{Read: 7}, json.RawMessage(`{"failed_at":1}`)); err != nil ||
		state != Running {
		t.Fatal(state, err)
	}
	if _, err := s.pause(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.release(t.Context(), "a", taken, Done, ""); err != nil {
		t.Fatal(err)
	}
	list, err := s.list(t.Context(), event.LogTelemetry, Paused, time.Now().Add(time.Minute), 10)
	if err != nil || len(list) != 1 || list[0].Progress.Read != 7 || list[0].EndedAt != nil {
		t.Fatal(list, err)
	}
	if j, err = s.cancel(t.Context(), j.ID); err != nil || j.EndedAt == nil {
		t.Fatal(j, err)
	}
}

func TestReplay_AJobForAGroupOfThousandsIsShownInBrief(t *testing.T) {
	w := newWorld(t)
	var devices []string
	for i := range 5000 {
		devices = append(devices, fmt.Sprintf("d%04d", i))
	}
	h := Handler(w.jobs, func(context.Context, string, string) ([]string, error) { return devices, nil }, w.kept())
	status, body := ask(t, h, "POST", "/v1/replays", `{"mode":"reprocess","reason":"why","group":"line","from":"2026-11-20T10:00:00Z","to":"2026-11-20T11:00:00Z"}`)
	if status != 201 || len(body) > 10_000 || !strings.Contains(body, `"device_count":5000`) ||
		!strings.Contains(body, `"group":"line"`) {
		t.Fatalf("%d %.300s", status, body)
	}
	if status, body := ask(t, h, "GET", "/v1/replays", ""); status != 200 || len(body) > 10_000 ||
		!strings.Contains(body, `"device_count":5000`) {
		t.Fatalf("%d %.300s", status, body)
	}
	if j, err := w.jobs.take(t.Context(), "me", event.LogTelemetry); err != nil || len(j.Devices) != 5000 {
		t.Fatal("a runner has all of them", err)
	}
}
