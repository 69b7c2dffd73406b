package browser

import (
	"net/http"
	"testing"
	"time"
)

// A version of a rule set is saved and activated by clicks, and an invalid one is refused with its line. Results
// appear on the page without a reload, and a rollback asks for confirmation.
func TestConsole_RulesAreKeptPutInForceAndTell(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	p.open("/rules?fleet=" + fleet)
	p.says("no version is in force")
	keep := func(text string) {
		t.Helper()
		p.fill("#r-text", text)
		p.click("form button", "Go on")
		p.click("dialog button", "Keep it")
	}
	keep("rules:\n  - name: Wrong\n")
	p.await("document.querySelector('dialog .bad')?.textContent.includes('line 2')")
	p.click("dialog button", "Not now")
	p.await("!document.querySelector('dialog')")
	keep("rules: [{ name: minute, key: [device_id], select: { n: count() }, emit: { on: update },\n" +
		"  window: { type: tumbling, size: 1m, allowed_lateness: 0s } }]\n")
	p.await("location.search.includes('version=1')")
	p.says("name: minute")
	p.click("tr:has(td:first-child a) button", "Put in force")
	p.click("dialog button", "Put in force")
	p.says("in force since")
	p.fill("#f-rule", "minute")
	p.await("location.search.includes('rule=minute')")
	const results = "document.querySelector('section[aria-labelledby=results] tbody')?.textContent"
	w.await("the rule tells", func() bool { // a partition applies rules from its next batch on
		w.post(event("pump-1", time.Now(), nil))
		return p.value(results+".includes('pump-1')") == "true"
	})
	p.says("provisional")
	p.click("button", "Go back")
	p.click("dialog button", "Go back")
	for _, path := range []string{"/v1/rule-versions/1/activate", "/v1/rule-versions/rollback"} {
		w.await("the audit log has one act of "+path, func() bool { // noted after the answer
			return len(w.did("GET", "/v1/audit?path="+path, w.admin, "")["acts"].([]any)) == 1
		})
	}
	p.await("[...document.querySelectorAll('tr')].some((r) => /the file of the rules.*in force/.test(r.textContent))")
	p.click("tr:has(td:first-child a) button", "For some fleets")
	p.fill("#f-some", "test-*, "+fleet)
	p.click("dialog button", "Put in force for these")
	p.says("for some fleets")
	w.await("the fleets' version is taken up", func() bool {
		w.post(event("pump-1", time.Now(), nil))
		return p.value("[...document.querySelectorAll('tr')]"+
			".some((r) => /test-\\*.*as they are to/.test(r.textContent))") == "true"
	})
	if code := w.status("GET", "/v1/rule-versions", w.key, ""); code != http.StatusForbidden {
		t.Errorf("a fleet's key was answered %d", code)
	}
	p.click("button", "Sign out")
	p.await("document.querySelector('#key')")
	p.signIn(w.key) // the key of a fleet sees the fleet's results
	p.open("/rules?rule=minute")
	p.says("pump-1")
	p.says("Versions of rules need a key with the scope admin")
}
