package browser

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// stored sends n events of pump-1, and waits until the raw store has them.
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

// A draft is tried on what is stored, and nothing is registered by that.
func TestConsole_ADraftIsTriedOnStoredEvents(t *testing.T) {
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
	// A fleet's key tries it on its own events, and may not register it.
	if code, raw := w.ask("POST", "/v1/schemas/dry-run", w.key, `{"schema":`+strict+`}`); code != http.StatusOK ||
		!bytes.Contains(raw, []byte(`"rejected":5`)) {
		t.Errorf("a fleet's key: %d %s", code, raw)
	}
}
