package browser

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// stored sends n events of pump-1 and waits until the raw store has them.
func (w *weir) stored(n int, at time.Time) {
	w.t.Helper()
	for i := range n {
		if code := w.post(event("pump-1", at.Add(time.Duration(i)*time.Millisecond), nil)); code != http.StatusAccepted {
			w.t.Fatalf("an event was answered %d", code)
		}
	}
	w.await("the events are stored", func() bool {
		code, raw := w.ask("GET", "/v1/events?device=pump-1&limit=100", w.key, "")
		return code == http.StatusOK && bytes.Count(raw, []byte(`"event_id"`)) >= n
	})
}

// A schema draft is tried on stored events, which registers nothing.
func TestConsole_ADraftIsTriedOnStoredEvents(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.stored(5, time.Now().Add(-time.Minute))
	shipped, err := os.ReadFile("../../schemas/telemetry/v2.json")
	if err != nil {
		t.Fatal(err)
	}
	unit := `"x-unit": "°C"`
	strict := strings.Replace(string(shipped), unit, unit+`, "maximum": 60`, 1)
	if strict == string(shipped) {
		t.Fatal("the shipped schema has no unit to put a bound beside")
	}
	p := newTab(t, w)
	p.signIn(w.admin)
	p.open("/schemas?fleet=" + fleet)
	p.fill("#draft-text", string(shipped))
	p.click("form button", "Try it")
	p.says("5 are of its firmware: 5 would pass and 0 would fail.")
	p.fill("#draft-text", strict)
	p.click("form button", "Try it")
	p.says("5 are of its firmware: 0 would pass and 5 would fail.")
	p.await("[...document.querySelectorAll('section[aria-labelledby=draft] td code')]" +
		".some((e) => e.textContent === '/metrics/cpu_temp')")
	if got := w.did("GET", "/v1/audit?path=/registry", w.admin, "")["acts"]; fmt.Sprint(got) != "[]" {
		t.Errorf("trying registered something: %v", got)
	}
	_, versions := w.ask("GET", "/registry/subjects/telemetry/versions", w.admin, "")
	if s := strings.Join(strings.Fields(string(versions)), ""); s != "[1,2,3]" {
		t.Errorf("the versions are %s", s)
	}
	// The key of a fleet may try a draft on the fleet's own events, and may not register it.
	if code, raw := w.ask("POST", "/v1/schemas/dry-run", w.key, `{"schema":`+strict+`}`); code != http.StatusOK ||
		!bytes.Contains(raw, []byte(`"rejected":5`)) {
		t.Errorf("a fleet's key: %d %s", code, raw)
	}
}

// Before a replay is created, the console shows what it would read and write; leaving the dialog creates nothing.
func TestConsole_AReplayIsEstimatedBeforeItIsMade(t *testing.T) {
	t.Parallel()
	w := start(t)
	at := time.Now().Add(-5 * time.Minute)
	w.stored(5, at)
	from, to := at.Add(-time.Hour).UTC().Format("2006-01-02T15:04"), at.Add(time.Hour).UTC().Format("2006-01-02T15:04")
	jobs := func() int {
		list, _ := w.did("GET", "/v1/replays", w.admin, "")["replays"].([]any)
		return len(list)
	}
	p := newTab(t, w)
	p.signIn(w.admin)
	p.open("/replays?new=1&mode=reprocess&from=" + from + "&to=" + to + "&fleet=" + fleet)
	p.fill("#w-reason", "a look")
	p.click("form button", "Go on")
	p.await("document.querySelector('dialog #estimate')?.innerText.includes('It reads about 5 events')")
	p.says("and it publishes about 5 events to the log once more, for raw, rollup")
	p.click("dialog button", "Not now")
	p.await("!document.querySelector('dialog')")
	if n := jobs(); n != 0 {
		t.Fatalf("an estimate made %d jobs", n)
	}
	p.click("form button", "Go on")
	p.await("document.querySelector('dialog #estimate')?.innerText.includes('It reads about 5 events')")
	p.click("dialog button", "Make it")
	p.await("location.pathname === '/replay'")
	if n := jobs(); n != 1 {
		t.Errorf("there are %d jobs, want one", n)
	}
	if code := w.status("POST", "/v1/replays/estimate", w.key, `{}`); code != http.StatusForbidden {
		t.Errorf("a fleet's key was answered %d", code)
	}
	out := w.weir("replay", "--mode", "reprocess", "--from", from+":00Z", "--to", to+":00Z", "--dry-run", "--data",
		w.data())
	if !strings.Contains(out, "reads about 5 events") || !strings.Contains(out, "nothing was made") {
		t.Errorf("weir replay --dry-run says %q", out)
	}
	if n := jobs(); n != 1 {
		t.Errorf("weir replay --dry-run made a job: there are %d", n)
	}

	// A job that repeats failed look-ups is created in the same way, for some look-ups or all; it has no dry run.
	p.open("/replays?new=1&mode=reprocess&from=" + from + "&to=" + to + "&fleet=" + fleet)
	p.await("document.querySelector('input[name=dry_run]') && !document.querySelector('#w-lookups')")
	p.click("label", "Ask look-ups again")
	p.await("document.querySelector('#w-lookups') && !document.querySelector('input[name=dry_run]')")
	p.fill("#w-lookups", "profile, region")
	p.fill("#w-reason", "profiles were away")
	p.click("form button", "Go on")
	p.await("document.querySelector('dialog #estimate')?.innerText.includes('It reads about 5 events')")
	p.says("and it asks look-ups again that failed for some of about 5 events, and keeps what they say beside these")
	p.click("dialog button", "Make it")
	p.await("location.pathname === '/replay'")
	p.await("document.querySelector('section[aria-labelledby=what]')?.innerText.includes('profile, region')")
	w.await("the job is done", func() bool {
		list := w.did("GET", "/v1/replays?state=done", w.admin, "")["replays"].([]any)
		return slices.ContainsFunc(list, func(j any) bool {
			job := j.(map[string]any)
			return job["mode"] == "enrich" && fmt.Sprint(job["lookups"]) == "[profile region]" && job["fleet"] == fleet
		})
	})
	acts := w.did("GET", "/v1/audit?path=/v1/replays", w.admin, "")["acts"].([]any)
	if len(acts) < 2 || !strings.Contains(fmt.Sprint(acts), "profiles were away") {
		t.Errorf("the audit log has %v", acts)
	}
	body := `{"mode":"enrich","from":"` + from + `:00Z","to":"` + to + `:00Z","reason":"mine"}`
	if code := w.status("POST", "/v1/replays", w.key, body); code != http.StatusForbidden {
		t.Errorf("a fleet's key was answered %d", code)
	}
}

// A key with the scope operate may try a patch and sees which events would fail again; redriving needs an admin key.
func TestConsole_ARedriveIsTriedOnDeadLetters(t *testing.T) {
	t.Parallel()
	w := start(t)
	at := time.Now().Add(-time.Minute)
	for _, temperature := range []string{"61.5", "62.5", "hot"} {
		w.post(event("pump-1", at, map[string]any{
			"metrics": map[string]any{"cpu_temp": temperature, "battery_voltage": 3.7, "vibration": 0.2}}))
	}
	w.await("the dead letters are stored", func() bool {
		code, raw := w.ask("GET", "/v1/dead-letters", w.key, "")
		return code == http.StatusOK && bytes.Count(raw, []byte(`"original_size"`)) == 3
	})
	p := newTab(t, w)
	p.signIn(w.key)
	p.open("/dead-letters?code=schema_violation")
	p.await("document.querySelectorAll('tbody tr').length === 3")
	p.click("form button", "Try it")
	p.says("Of 3 dead letters 0 would be sent through again, and 3 would fail again. Nothing was changed.")
	p.fill("#patch", "root.metrics.cpu_temp = this.metrics.cpu_temp.number()")
	p.click("form button", "Try it")
	p.says("Of 3 dead letters 2 would be sent through again, and 1 would fail again. Nothing was changed.")
	p.await("document.querySelector('.diff .add')?.textContent.includes('.5')")
	p.await("[...document.querySelectorAll('form button')].find((b) => b.textContent.includes('Send through')).disabled")
	p.fill("#patch", "root = (")
	p.click("form button", "Try it")
	p.says("patch")
	p.await("document.querySelector('.note.bad')")
	if list := w.did("GET", "/v1/replays", w.admin, "")["replays"].([]any); len(list) != 0 {
		t.Errorf("trying made %d jobs", len(list))
	}
	if acts := w.did("GET", "/v1/audit?path=/v1/dead-letters/dry-run", w.admin, "")["acts"].([]any); len(acts) != 3 {
		t.Errorf("the audit log has %d trials, want 3", len(acts))
	}
}
