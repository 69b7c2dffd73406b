package browser

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Dead letters of every kind, marked and escaped; and one that is sent through
// again with a patch, by clicks alone, is stored once.
func TestConsole_DeadLettersAreShownAndSentThroughAgain(t *testing.T) {
	w := start(t)
	p := newTab(t, w)
	at := time.Now().Add(-time.Minute)
	bad := event("pump-1", at, map[string]any{
		"metrics": map[string]any{"cpu_temp": "61.5", "battery_voltage": 3.7, "vibration": 0.2, "<b>x</b>": 1}})
	w.post(bad)
	w.raw([]byte("\xff\xfe no text at all \x00"))
	w.raw([]byte(`{"event_id": ` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`))
	w.await("the dead letters are stored", func() bool {
		code, raw := w.ask("GET", "/v1/dead-letters", w.admin, "")
		return code == http.StatusOK && bytes.Count(raw, []byte(`"original_size"`)) == 3
	})
	p.signIn(w.admin)
	p.open("/dead-letters?fleet=" + fleet)
	p.await("document.querySelectorAll('tbody tr').length === 3")
	p.fill("#f-code", "schema_violation")
	p.await("document.querySelectorAll('tbody tr').length === 1")
	p.await("location.search.includes('code=schema_violation')")
	p.click("tbody a", "/metrics/cpu_temp")
	p.await("document.querySelector('pre mark')?.textContent === '\"61.5\"'")
	p.says("<b>x</b>")
	if n := p.value("document.querySelectorAll('pre b').length"); n != "0" {
		t.Error("what was sent became a part of the page")
	}
	p.open("/dead-letters?fleet=" + fleet + "&code=invalid_json")
	p.await("document.querySelectorAll('tbody tr').length >= 1")
	for i := range 2 {
		p.open("/dead-letters?fleet=" + fleet)
		p.await("document.querySelectorAll('tbody tr').length === 3")
		p.eval(fmt.Sprintf(`[...document.querySelectorAll("tbody td:nth-child(4) a")].filter((a) =>
			!a.textContent.includes("cpu_temp"))[%d].click()`, i), nil)
		p.await("document.querySelector('section[aria-labelledby=bytes] pre')")
	}

	patch := "root.metrics.cpu_temp = this.metrics.cpu_temp.number()"
	p.open("/dead-letters?fleet=" + fleet + "&code=schema_violation")
	p.await("document.querySelectorAll('tbody tr').length === 1")
	p.fill("#patch", patch)
	p.click("form button", "Try it")
	p.says("Of 1 dead letters 1 would be sent through again. Nothing was changed.")
	p.await("document.querySelector('.diff .add')?.textContent.includes('61.5')")
	dry := w.weir("dead-letters", "--dry-run", "--code", "schema_violation", "--patch", patch, "--data", w.data())
	if !strings.HasPrefix(dry, "1 dead letters tried: 1 would be sent through again\n") {
		t.Errorf("on a terminal it says %s", dry)
	}
	p.click("form button", "Send through again")
	p.fill("#redrive-reason", "the unit was text")
	p.click("dialog button", "Send")
	p.await("location.pathname === '/replay'")
	p.says("done")
	w.await("the event is stored", func() bool {
		code, raw := w.ask("GET", "/v1/events?device=pump-1", w.key, "")
		return code == http.StatusOK && bytes.Contains(raw, []byte(bad["event_id"].(string)))
	})
	// It was sent, and is not sent again.
	p.open("/dead-letters?fleet=" + fleet + "&code=schema_violation")
	p.fill("#patch", patch)
	p.click("form button", "Try it")
	p.says("1 were before, and are passed over")
	p.await("[...document.querySelectorAll('form button')].find((b) => b.textContent.includes('Send through')).disabled")
	w.await("all of it is accounted for", func() bool {
		return strings.Contains(w.weir("reconcile", "--json", "--data", w.data()), `"in_flight": 0`)
	})
	_, raw := w.ask("GET", "/v1/events?device=pump-1", w.key, "")
	if n := bytes.Count(raw, []byte(bad["event_id"].(string))); n != 1 {
		t.Errorf("the event is stored %d times: %s", n, raw)
	}
}
