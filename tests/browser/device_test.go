package browser

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

func TestConsole_ADeviceShowsWhatItSent(t *testing.T) {
	w := start(t)
	p := newTab(t, w)
	at := time.Now().Add(-20 * time.Second)
	for i := range 40 {
		w.post(event("pump-1", at.Add(time.Duration(i)*100*time.Millisecond), map[string]any{
			"metrics": map[string]any{"cpu_temp": 40 + float64(i), "battery_voltage": 3.7, "vibration": 0.25}}))
	}
	p.signIn(w.admin)
	p.open(device(fleet, "pump-1") + "&metric=cpu_temp&range=15m")
	p.says("40 readings as they were sent, from 40 to 79")
	p.says("40 readings in") // in one window or two of a minute
	p.says("windows of 1m, from 40 to 79")
	p.await("document.querySelectorAll('.plot canvas').length === 2")
	p.await("document.querySelectorAll('section[aria-labelledby=events] tbody tr').length >= 25")

	// New events appear on the page without a reload.
	if took := p.quickest("101", 5*time.Second); took > 5*time.Second {
		t.Errorf("an event is on its device's page after %s", took)
	}
	load := w.load("--devices", "50", "--prefix", "busy", "--rate", "500", "--duration", "10m", "--malformed", "1",
		"--duplicates", "5")
	w.await("others send", func() bool { return w.metric("weir_gate_accepted_events_total") > 1000 })
	if took := p.quickest("102", 30*time.Second); took > 30*time.Second {
		t.Errorf("under load an event is on its device's page after %s", took)
	}
	load.end()

	p.click(".tile", "vibration")
	p.await("new URLSearchParams(location.search).get('metric') === 'vibration'")
	p.says("History of vibration")
	p.run(chromedp.Reload())
	p.says("History of vibration") // the URL holds the state of the view
	p.click("nav[aria-label=Range] a", "30d")
	p.says("windows of 1h")
	p.click("figure button", "As a table")
	p.await("document.querySelectorAll('figure table').length > 0")
	p.click("section[aria-labelledby=events] button", "show")
	p.says(`"device_firmware_version": "2.1.0"`)

	p.open(device(fleet, "pump-1") + "&metric=cpu_temp&from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z")
	p.says("reversed")
	p.open(device(fleet, "pump-1") + "&metric=cpu_temp&from=1926-01-01T00:00:00Z&to=2026-01-01T00:00:00Z&window=1m")
	p.says("longer than 2,000 days")
	// For no range and window does a chart have more points than the page can draw.
	if most := p.value(`Promise.all([import("/console/js/range.js"), import("/console/js/series.js")]).then(([r, s]) => {
		let most = 0;
		for (const length of ["5m", "15m", "6h", "1d", "7d", "30d", "90d", "365d", "1999d", "2001d", "36525d"]) {
			const to = 1.7e9 + 13, from = to - parseInt(length) * { m: 60, h: 3600, d: 86400 }[length.at(-1)];
			const range = r.rangeOf({ from: r.rfc(from), to: r.rfc(to) });
			if (range.why) continue;
			for (const asked of [undefined, "1m", "1h", "1d", "1s", "constructor"]) {
				const { window } = r.windowFor(range.from, range.to, asked);
				most = Math.max(most, s.bandOf([{ bucket: r.rfc(to - 60) }], range, window).times.length);
			}
		}
		return most;
	})`); most != "2000" { // a range of 1999 days and two partial ones
		t.Errorf("a chart has up to %s points", most)
	}
	p.open(device(fleet, "nobody"))
	p.says("There are no rollups of this device")
}

// quickest sends up to five events of pump-1, with values that begin as given, until one appears on the page within a
// bound, and returns the shortest time. A short stall of the machine delays one of them only.
func (p *tab) quickest(begins string, within time.Duration) time.Duration {
	p.t.Helper()
	best := time.Duration(math.MaxInt64)
	for i := 1; i <= 5 && best > within; i++ {
		took := p.seen(begins + "." + strconv.Itoa(i))
		p.t.Logf("%s.%d is on the page after %s", begins, i, took.Round(10*time.Millisecond))
		best = min(best, took)
	}
	return best
}

// seen sends an event of pump-1 with a value that is not on its page, and returns the time until it is.
func (p *tab) seen(value string) time.Duration {
	p.t.Helper()
	began := time.Now()
	p.w.post(event("pump-1", began, map[string]any{
		"metrics": map[string]any{"cpu_temp": json.Number(value), "battery_voltage": 3.7, "vibration": 0.25}}))
	p.says(value)
	return time.Since(began)
}

// Device ids are shown as text, whatever they contain.
func TestConsole_HostileIdsAreText(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	ids := []string{`<img src=x onerror="window.hit=1">`, `"><script>window.hit=1</script>`, `' onmouseover='window.hit=1`,
		"\u202egnp.exe", "..", "../../v1/keys", "%00%2e", "${window.hit=1}", "{{constructor}}",
		strings.Repeat("x", 256), "a&fleet=other"}
	w.post(event("..", time.Now(), nil), event(".", time.Now(), nil))
	w.did("PUT", "/v1/groups/odd", w.admin, `{"fleet": "`+fleet+`", "devices": ["..", "."]}`)
	for _, id := range ids {
		p.open(device(fleet, id))
		p.await("document.querySelector('h1.id')?.textContent === " + quote(id))
		for _, path := range []string{"/alerts?device=", "/dead-letters?device=", "/dead-letters?code=",
			"/devices?search=", "/group?name=", "/alert?id=",
			"/replay?id=", "/schemas?subject=", "/admin?tab=audit&path="} {
			p.open(path + p.value("encodeURIComponent("+quote(id)+")"))
			p.await("document.querySelector('main > *:not(.back)')")
		}
	}
	for _, word := range []string{"constructor", "__proto__", "toString"} { // properties of every JavaScript object
		for _, path := range []string{"/admin?tab=", "/replays?new=1&mode=", "/alerts?state=", "/devices?silent_for=",
			device(fleet, "..") + "&window=", device(fleet, "..") + "&metric=cpu_temp&range="} {
			p.open(path + word)
			p.await("document.querySelectorAll('main > *').length > 1")
		}
	}
	p.open(device(fleet, ".."))
	p.await("document.querySelector('.tile')") // a path with ".." would be that of another resource
	p.says("61.5")
	if p.value("String(window.hit) + document.querySelectorAll('main img, main script').length") != "undefined0" {
		t.Error("an id became a part of the page")
	}
	if wide := p.value("document.documentElement.scrollWidth <= innerWidth"); wide != "true" {
		t.Error("an id makes the page wider than the window")
	}
}

func TestConsole_CSVIsNoFormula(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	got := p.value(`import("/console/js/csv.js").then((m) => m.csv(["a", "b"], [
		["=1+1", "+1"], ["-2+3", "@SUM(A1)"], [-2.5, "1e5"], ["  =1", "\t=1"], ["a,b", 'say "x"'], [null, { k: 1 }], ["line\nbreak", "|cmd"]]))`)
	want := "a,b\r\n'=1+1,'+1\r\n'-2+3,'@SUM(A1)\r\n-2.5,1e5\r\n'  =1,\"'\t=1\"\r\n\"a,b\",\"say \"\"x\"\"\"\r\n" +
		",\"{\"\"k\"\":1}\"\r\n" +
		"\"line\nbreak\",'|cmd\r\n"
	if got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// Times in three zones, before and after the clocks change.
func TestConsole_TimesAreOfOneZone(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	for zone, wants := range map[string][2]string{
		"UTC":            {"2026-10-25 00:30:00 +00:00, 2026-10-25 01:30:00 +00:00", "25/1 explained, 25/0 loss"},
		"Europe/Berlin":  {"2026-10-25 02:30:00 +02:00, 2026-10-25 02:30:00 +01:00", "25/2 explained, 25/2 loss"},
		"Asia/Kathmandu": {"2026-10-25 06:15:00 +05:45, 2026-10-25 07:15:00 +05:45", "25/6 explained, 25/5 loss"},
	} {
		want, places := wants[0], "2026-10-24,2026-10-25 "+wants[1]
		p.run(emulation.SetTimezoneOverride(zone))
		p.open("/admin")
		for _, chosen := range []string{"", "UTC"} {
			got := p.value(`import("/console/js/format.js").then((m) => { m.setZone(` + quote(chosen) + `); return ["2026-10-25T00:30:00Z",
				"2026-10-25T01:30:00Z"].map((t) => m.instant(t) + " " + m.offset(t)).join(", "); })`)
			expected := want
			if chosen == "UTC" {
				expected = "2026-10-25 00:30:00 +00:00, 2026-10-25 01:30:00 +00:00"
			}
			if got != expected {
				t.Errorf("%s, chosen %q: %s, want %s", zone, chosen, got, expected)
			}
		}
		p.eval(`import("/console/js/format.js").then((m) => m.setZone(""))`, nil)
		// In the calendar of proofs the hour that occurs twice has one cell, which shows the worse result.
		if got := p.value(`import("/console/js/proof_days.js").then(({ cells }) => { const at = (t) => Date.parse(t);
			const { days, cells: list } = cells(at("2026-10-24T12:00:00Z"), at("2026-10-25T12:00:00Z"), [
				{ hour: "2026-10-25T00:00:00Z", explained: 11, loss: 1, failed: 0 },
				{ hour: "2026-10-25T01:00:00Z", explained: 12, loss: 0, failed: 0 }]);
			return days.join() + list.map((c) => " " + days[c.day].slice(8) + "/" + c.hour + " " + c.kind).join(); })`); got != places {
			t.Errorf("%s: the hours of the proofs are at %s, want %s", zone, got, places)
		}
		p.open(device(fleet, "pump-1") + "&metric=cpu_temp&from=2026-10-25T00:00:00Z&to=2026-10-25T03:00:00Z")
		p.says("No readings between 2026-10-25") // in each of the zones
	}
}

func TestConsole_AStoppedWeirMakesFiguresStale(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	w.post(event("pump-1", time.Now(), nil))
	p.signIn(w.admin)
	p.open(device(fleet, "pump-1"))
	p.says("61.5")
	// By design no figure looks current for more than five seconds after weir is lost.
	if bound := p.value(`import("/console/js/health.js").then((m) => m.every + m.patience)`); bound != "4000" {
		t.Errorf("weir is looked for every %s ms at worst", bound)
	}
	const lost = "document.documentElement.hasAttribute('data-lost')"
	const found = "!" + lost
	w.signal(sigStop) // weir accepts connections and does not answer
	p.await(lost)
	p.says("weir does not answer since")
	p.says("61.5") // the last known value
	w.signal(sigCont)
	p.await(found)

	w.kill()
	p.await(lost)
	w.run()
	p.await(found)
	w.post(event("pump-1", time.Now(), map[string]any{
		"metrics": map[string]any{"cpu_temp": 77.25, "battery_voltage": 3.7, "vibration": 0.2}}))
	p.says("77.25")
}

func TestConsole_TheKeyboardReachesEverything(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	p.says("New key")
	p.await("!document.body.innerText.includes('Reading…')")
	seen := p.walk()
	for _, want := range []string{"A To the content", "A Overview", "A Alerts", "BUTTON Sign out", "INPUT k-fleet",
		"BUTTON Go on"} {
		if !slices.Contains(seen, want) {
			t.Errorf("the focus never comes to %s, of %v", want, seen)
		}
	}
	w.post(event("pump-1", time.Now(), nil))
	for path, shows := range map[string]string{"/": "Who runs", "/dead-letters": "Newest first",
		"/schemas?fleet=" + fleet: "Try a draft", device(fleet, "pump-1"): "History of"} {
		p.open(path)
		p.says(shows)
		p.await("!document.body.innerText.includes('Reading…')")
		p.walk()
	}
	p.open("/admin")
	p.eval("document.activeElement.blur()", nil)
	p.run(chromedp.KeyEvent("g"), chromedp.KeyEvent("a"))
	p.await("location.pathname === '/alerts'")
	p.await("document.querySelector('[data-search]')")
	p.run(chromedp.KeyEvent("/"))
	p.await("document.activeElement.matches('[data-search]')")
	p.run(chromedp.KeyEvent("g"), chromedp.KeyEvent("s")) // typed into the search field
	p.await("document.activeElement.value?.endsWith('gs') && location.pathname === '/alerts'")
	p.eval("document.activeElement.blur()", nil)
	p.run(chromedp.KeyEvent("?"))
	p.await("document.querySelector('dialog[open]')")
	p.run(chromedp.KeyEvent("\x1b"))
	p.await("!document.querySelector('dialog')")
}

// walk presses Tab until the focus has passed the whole page once, and returns the elements that it reached. It fails
// if a visible control never gets the focus, or if the focus does not come round.
func (p *tab) walk() (to []string) {
	p.t.Helper()
	p.eval(`(() => {
		window.walked = [];
		document.activeElement.blur();
		document.addEventListener("focusin", window.walker = ({ target: e }) => {
			e.walkedTo = true;
			walked.push(e.tagName + " " + (e.id || e.textContent.trim().slice(0, 30)));
		});
	})()`, nil)
	tabs := slices.Repeat([]chromedp.Action{chromedp.KeyEvent("\t")}, 20)
	const round = `walked.filter((e) => e === "A To the content").length > 1`
	for n := 0; p.value(round) != "true"; n++ {
		if n == 15 {
			p.t.Errorf("the focus does not come round: %v", p.value("location.href + ' ' + walked.slice(-20)"))
			break
		}
		p.run(tabs...)
	}
	if missed := p.value(`[...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
		.filter((e) => !e.disabled && e.checkVisibility() && e.type !== "radio" && !e.walkedTo)
		.map((e) => e.outerHTML.slice(0, 100)).join()`); missed != "" {
		p.t.Errorf("the focus never comes to %s", missed)
	}
	p.eval("document.removeEventListener('focusin', walker)", nil)
	p.eval("walked", &to)
	return to
}
