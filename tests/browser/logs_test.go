package browser

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/integration/built"
	"weir/tests/integration/require"
)

// startBoth starts a weir that accepts user events beside telemetry. people is a second handle whose events go to the
// gate for user events.
func startBoth(t *testing.T) (w, people *weir) {
	t.Helper()
	w = made(t)
	var gate string
	built.Addresses(t, &gate)
	w.env = []string{"WEIR_PRIVACY_KEYS=k1:only-a-test-knows-this", "WEIR_USER_INGEST_ADDRESS=" + gate,
		"WEIR_RAW_PERIOD=500ms", "WEIR_DEAD_LETTER_PERIOD=500ms", "WEIR_RECONCILE_INTERVAL=10s",
		"WEIR_ROLLUP_WRITE_EVERY=1s"}
	w.weir("configs", "mine")
	files, err := filepath.Glob(filepath.Join(w.dir, "mine", "configs", "people", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if err := os.Rename(file, filepath.Join(w.dir, "mine", "configs", "streams", filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"configs", "schemas", "bloblang"} { // weir up reads them from its working directory
		if err := os.Rename(filepath.Join(w.dir, "mine", dir), filepath.Join(w.dir, dir)); err != nil {
			t.Fatal(err)
		}
	}
	w.begin()
	people = &weir{t: t, key: w.key, ingest: gate}
	return w, people
}

// person returns a user event.
func person(fields map[string]any) map[string]any {
	e := event("browser-1", time.Now(), map[string]any{"device_firmware_version": "1.2.0", "metrics": map[string]any{},
		"metadata": map[string]any{"type": "page_viewed"}, "user": map[string]any{"id": "u-77"}})
	for k, v := range fields {
		e[k] = v
	}
	return e
}

// A page shows the chosen log, the URL contains the choice, and actions apply to that log.
func TestConsole_ShowsEitherLog(t *testing.T) {
	t.Parallel()
	w, people := startBoth(t)
	w.post(event("pump-1", time.Now(), nil))
	w.post(event("pump-1", time.Now(), map[string]any{"metrics": map[string]any{"cpu_temp": "hot", "battery_voltage": 3.7,
		"vibration": 0.2}}))
	people.post(person(nil), person(nil))
	people.post(person(map[string]any{"metadata": map[string]any{"source": "web"}}))
	for _, log := range []string{"telemetry", "user-events"} {
		w.await("the dead letters are stored", func() bool {
			code, raw := w.ask("GET", "/v1/dead-letters?log="+log, w.admin, "")
			return code == http.StatusOK && bytes.Count(raw, []byte(`"original_size"`)) == 1
		})
	}
	p := newTab(t, w)
	p.signIn(w.admin)
	p.open("/dead-letters")
	p.await("document.querySelectorAll('tbody tr').length === 1")
	p.says("/metrics/cpu_temp")
	choose := func(log string) {
		t.Helper()
		p.eval(`(() => { const s = [...document.querySelectorAll("label.pick")].find((l) => l.innerText.includes("Log"))
			.querySelector("select"); s.value = "`+log+`"; s.dispatchEvent(new Event("change", { bubbles: true })); })()`, nil)
	}
	choose("user-events")
	p.await("location.search === '?log=user-events'")
	p.says("/metadata")
	p.await("!document.body.innerText.includes('/metrics/cpu_temp')")
	p.fill("#patch", `root.metadata.type = "page_viewed"`)
	p.click("form button", "Try it")
	p.says("Of 1 dead letters 1 would be sent through again. Nothing was changed.")
	p.click("tbody a", "/metadata")
	p.await("location.search.includes('log=user-events') && document.querySelector('section[aria-labelledby=bytes] pre')")
	p.says("browser-1")

	p.click("nav#views a", "Overview")
	p.await("location.pathname === '/' && location.search === '?log=user-events'")
	p.await("document.querySelector('[data-name=stored]')?.innerText === '3'") // and one dead letter
	p.says("weir-user-raw")
	p.says("It adds up.")
	p.await("document.querySelector('a[href=\"/proof?log=user-events\"]')") // a proof has run
	p.click("a.good", "Proved")
	p.says("user-events/0")
	p.await("!document.body.innerText.includes('raw-events/0')")
	choose("telemetry")
	p.await("location.search === ''")
	p.says("raw-events/0")

	p.open("/device?fleet=" + fleet + "&id=browser-1&log=user-events")
	p.await("document.querySelector('section[aria-labelledby=events] select')")
	p.eval(`(() => { const s = document.querySelector("section[aria-labelledby=events] select"); s.value = "24 h";
		s.dispatchEvent(new Event("change", { bubbles: true })); })()`, nil)
	p.await("document.querySelectorAll('section[aria-labelledby=events] tbody tr').length === 2")
	p.says("made of telemetry alone")
	p.click("section[aria-labelledby=events] button", "show")
	p.await("document.querySelector('dl.lineage')?.innerText.includes('user-events/0')")
	p.await("document.querySelector('dl.lineage').innerText.includes('user_event/')")
	p.open("/quality?fleet=" + fleet + "&log=user-events")
	p.await("performance.getEntriesByType('resource').some((r) => /v1.quality.*source=user_event/.test(r.name))")
	choose("telemetry")
	p.await("performance.getEntriesByType('resource').some((r) => /v1.quality.*source=telemetry/.test(r.name))")
	// The list of devices is that of telemetry, whichever log was chosen before.
	p.open("/devices?fleet=" + fleet + "&log=user-events")
	p.await("document.querySelector('main a[href^=\"/device?\"]')?.href.includes('log=') === false")
	p.await("document.querySelector('nav#views a[href^=\"/dead-letters\"]').href.includes('log=user-events')")

	p.open("/replays?log=user-events&new=1&fleet=" + fleet)
	p.await("document.querySelector('input[value=reprocess]')?.checked && !document.querySelector('input[value=rebuild]')")
	p.click("label", "Send dead letters through again")
	p.fill("#w-patch", `root.metadata.type = "page_viewed"`)
	p.fill("#w-reason", "the app was fixed")
	p.click("form button", "Go on")
	p.await("document.querySelector('dialog #estimate')?.innerText.includes('It reads 1 dead letters')")
	p.click("dialog button", "Make it")
	p.await("location.pathname === '/replay'")
	p.says("user-events")
	w.await("the dead letter is an event", func() bool {
		code, raw := w.ask("GET", "/v1/events?log=user-events&device=browser-1", w.key, "")
		return code == http.StatusOK && bytes.Count(raw, []byte(`"event_id"`)) == 3
	})
	p.click("main a", "Replays")
	p.await("location.pathname === '/replays' && location.search.includes('log=user-events')")
	p.await("document.querySelectorAll('section[aria-labelledby=jobs] tbody tr').length === 1 && " +
		"document.querySelector('section[aria-labelledby=jobs]').innerText.includes('the app was fixed')")
	choose("telemetry")
	p.says("There is no such job.")

	axe, err := os.ReadFile(require.Env(t, "WEIR_TEST_AXE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/?log=user-events", "/replays?log=user-events&new=1"} {
		for _, theme := range []string{"light", "dark"} {
			p.look(390, theme)
			p.open(path)
			p.await("document.querySelector('main h1') && !document.querySelector('.hole')")
			for _, v := range p.violations(string(axe)) {
				t.Errorf("%s, %s: %s", path, theme, v)
			}
		}
	}
	// A log that this weir does not have is an error.
	p.look(1200, "light")
	p.open("/dead-letters?log=users")
	p.says("could not be read")
}

// With only one log there is no chooser.
func TestConsole_OneLogHasNoChooser(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	p.open("/dead-letters")
	p.says("Nothing failed in this range.")
	if labels := p.value("[...document.querySelectorAll('label.pick')].map((l) => l.innerText).join()"); strings.Contains(
		labels, "Log") {
		t.Errorf("there is a choice of %s", labels)
	}
}
