package browser

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

const sigStop, sigCont = syscall.SIGSTOP, syscall.SIGCONT

// Each view with data, in both themes and at the width of a desktop and of a phone, passes the accessibility checks
// and fits the window.
func TestConsole_NoViewBreaksTheRulesOfAccessiblePages(t *testing.T) {
	t.Parallel()
	w := made(t)
	w.env = []string{"WEIR_QUALITY_INTERVAL=1s"}
	w.begin()
	axe, err := os.ReadFile(require.Env(t, "WEIR_TEST_AXE"))
	if err != nil {
		t.Fatal(err)
	}
	p := newTab(t, w)
	w.send("--devices", "5", "--prefix", "pump", "--events", "500", "--rate", "0", "--malformed", "2")
	hot := time.Now().Add(-2 * time.Minute)
	for i := range 8 { // 30 s above the limit
		w.post(event("pump-hot", hot.Add(time.Duration(i)*10*time.Second), map[string]any{
			"metrics": map[string]any{"cpu_temp": 97.5, "battery_voltage": 3.7, "vibration": 0.2}}))
	}
	for i := range 3 { // in an hour that has ended
		w.post(event("pump-late", time.Now().Add(-time.Duration(3*60+i)*time.Minute), map[string]any{
			"diagnostics": map[string]any{"slot": "A 7", "ada@example.com": 1}}))
	}
	w.did("PUT", "/v1/groups/line", w.admin, `{"fleet": "`+fleet+`", "devices": ["pump-000000", "pump-000001"]}`)
	w.did("PUT", "/v1/holds/plant-2", w.admin, `{"reason": "case 4711"}`)
	w.did("PUT", "/v1/blocks?fleet="+fleet, w.admin, `{"kind": "device", "subject": "pump-hot", "until": "`+
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`", "reason": "tried cards"}`)
	job := w.did("POST", "/v1/replays", w.admin, `{"mode": "rebuild", "reason": "try", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}`)
	w.did("POST", "/v1/erasures", w.admin, `{"fleet": "`+fleet+`", "device_id": "pump-9", "reason": "wish", "dry_run": true}`)
	var alert string
	w.await("an alert is open", func() bool {
		list, _ := w.did("GET", "/v1/alerts?state=open", w.admin, "")["alerts"].([]any)
		if len(list) > 0 {
			alert = list[0].(map[string]any)["alert_id"].(string)
		}
		return alert != ""
	})
	w.await("the devices have rollups", func() bool {
		return w.status("GET", "/v1/devices/pump-000000/latest", w.key, "") == 200 &&
			w.status("GET", "/v1/devices/pump-hot/latest", w.key, "") == 200
	})

	var letter map[string]any
	w.await("a dead letter is stored", func() bool {
		list, _ := w.did("GET", "/v1/dead-letters?limit=1", w.admin, "")["dead_letters"].([]any)
		if len(list) > 0 {
			letter = list[0].(map[string]any)
		}
		return letter != nil
	})
	at := url.QueryEscape(letter["failed_at"].(string))
	w.await("data quality is computed", func() bool {
		return w.did("GET", "/v1/quality", w.key, "")["events"].(float64) == 3
	})

	w.proved(map[string]time.Duration{"explained": 20 * 24 * time.Hour, "loss": 9 * 24 * time.Hour, "failed": time.Hour})
	p.signIn(w.admin)
	for _, view := range []struct{ path, shows string }{
		{"/", "It adds up."}, {"/proof", " found events missing, "}, {"/devices", "pump-000000"},
		{"/dead-letters", "Newest first"}, {"/streams", "What flows"}, {"/etl", "No run was heard of"},
		{"/dead-letter?id=" + letter["id"].(string) + "&failed_at=" + at, "What was sent"},
		{"/alerts?state=all", "Processor too hot"}, {"/alerts?state=all&fleet=" + fleet, "tried cards"},
		{"/alert?fleet=" + fleet + "&id=" + alert, "Who was told"},
		{device(fleet, "pump-000000") + "&metric=cpu_temp", "readings in"},
		{device(fleet, "nobody"), "There are no rollups"},
		{"/group?fleet=" + fleet + "&name=line", "readings in"},
		{"/replays?new=1", "Jobs"},
		{"/replay?id=" + job["id"].(string), "How it goes"},
		{"/schemas?fleet=" + fleet + "&version=3&against=1", "Who sends which"},
		{"/rules?fleet=" + fleet, "New version"}, {"/analytics?fleet=" + fleet, "Revenue"},
		{"/quality?fleet=" + fleet, "/diagnostics/slot"},
		{"/admin", "New key"}, {"/admin?tab=groups", "line"}, {"/admin?tab=holds", "case 4711"},
		{"/admin?tab=erasures", "wish"},
		{"/admin?tab=retention", "etention"}, {"/admin?tab=audit", "POST /v1/replays"},
	} {
		for _, width := range []int64{1440, 390} {
			for _, theme := range []string{"light", "dark"} {
				p.look(width, theme)
				p.open(view.path)
				p.says(view.shows)
				p.await("!document.body.innerText.includes('Reading…')")
				where := fmt.Sprintf("%s, %d wide, %s", view.path, width, theme)
				for _, v := range p.violations(string(axe)) {
					t.Errorf("%s: %s", where, v)
				}
				if p.value(fmt.Sprintf("document.documentElement.scrollWidth > %d", width)) == "true" {
					t.Errorf("%s: the page is wider than the window", where)
				}
			}
		}
	}
	p.look(1440, "light")
	p.open("/alert?fleet=" + fleet + "&id=" + alert)
	for _, act := range []struct{ name, path, becomes string }{{"Acknowledge", "acknowledge", "acknowledged"},
		{"Resolve", "resolve", "resolved"}} {
		p.click("main button", act.name)
		p.click("dialog button", act.name)
		p.await("[...document.querySelectorAll('main dd .state')].some((e) => e.textContent === " + quote(act.becomes) + ")")
		acts := w.did("GET", "/v1/audit?path=/v1/alerts/"+alert+"/"+act.path, w.admin, "")["acts"].([]any)
		if len(acts) != 1 {
			t.Errorf("the audit log has %d of %s", len(acts), act.name)
		}
	}
	p.open("/alerts?fleet=" + fleet)
	p.says("tried cards")
	p.click("main button", "Lift")
	p.click("dialog button", "Lift")
	p.says("Nobody is blocked.")
	p.look(390, "dark")
	p.click("button", "Menu") // only on a phone
	p.await("document.querySelector('nav[aria-label=Views]').checkVisibility()")
	for _, v := range p.violations(string(axe)) {
		t.Errorf("the menu: %s", v)
	}
	p.click("button", "Sign out")
	p.await("document.querySelector('#key')")
	for _, v := range p.violations(string(axe)) {
		t.Errorf("signing in: %s", v)
	}
}

// proved inserts proofs into the history, with their verdict and age.
func (w *weir) proved(verdicts map[string]time.Duration) {
	w.t.Helper()
	db, err := sqldb.Open(w.t.Context(), "sqlite://"+filepath.Join(w.data(), "control.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	for verdict, ago := range verdicts {
		if _, err := db.ExecContext(w.t.Context(), `INSERT INTO reconcile_proof (id, at, verdict, report, detail)
			VALUES ($1, $2, $1, '', '')`, verdict, time.Now().Add(-ago).UnixMicro()); err != nil {
			w.t.Fatal(err)
		}
	}
}
