package browser

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestConsole_AsksForTheKeyOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.await("weir up says where the console is", func() bool {
		log, err := os.ReadFile(filepath.Join(w.dir, "up.log"))
		return err == nil && strings.Contains(string(log), "console  http://"+w.api+"/\n")
	})
	p := newTab(t, w)
	p.open("/admin?tab=audit")
	p.typeKey("no such key")
	p.says("does not know this key")
	p.typeKey(w.admin)
	p.says("Audit log")
	p.await("location.search === '?tab=audit'") // the page that was asked for
	p.run(chromedp.Reload())
	p.says("Audit log")
	if kept := p.value("JSON.stringify(localStorage) + document.cookie + location.href"); strings.Contains(kept, w.admin) {
		t.Errorf("the key is kept in %s", kept)
	}
	p.click("button", "Sign out")
	p.await("document.querySelector('#key')")
	if kept := p.value("JSON.stringify(sessionStorage)"); strings.Contains(kept, w.admin) {
		t.Error("the key outlives signing out")
	}
}

func TestConsole_AKeyShowsWhatItMay(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.key)
	p.says("needs a key with the scope admin")
	p.open("/replays")
	p.says("needs a key with the scope admin")
	p.open("/alerts")
	p.says("No alert is open")

	sends := w.did("POST", "/v1/keys", w.admin, `{"fleet": "`+fleet+`", "scopes": ["ingest"]}`)["key"].(string)
	w.await("the key is known", func() bool {
		return w.status("GET", "/v1/alerts", sends, "") == http.StatusForbidden
	})
	p.click("button", "Sign out")
	p.typeKey(sends)
	p.says("needs the scope query")

	other := w.did("POST", "/v1/keys", w.admin, `{"fleet": "`+fleet+`", "scopes": ["query"]}`)
	p.typeKey(other["key"].(string))
	p.says("No alert is open")
	p.open("/") // a page with live figures
	p.says("of all fleets together")
	w.did("DELETE", "/v1/keys/"+other["id"].(string), w.admin, "")
	p.says("no longer takes this key")
}

// Every action asks for confirmation, and is in the audit log.
func TestConsole_ActsAskOnceMore(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.admin)
	p.fill("#k-fleet", "plant-9")
	p.click("label", "query")
	p.click("form button", "Go on")
	p.says("A key of the fleet plant-9 that may query.")
	keys := func() int { return len(w.did("GET", "/v1/keys?fleet=plant-9", w.admin, "")["keys"].([]any)) }
	if n := keys(); n != 0 {
		t.Errorf("%d keys were made before anybody agreed", n)
	}
	p.click("dialog button", "Not now")
	p.await("!document.querySelector('dialog')")
	p.click("form button", "Go on")
	p.click("dialog button", "Make it")
	p.await("document.querySelector('.secret')")
	made := p.value("document.querySelector('.secret').textContent")
	w.await("the new key is known", func() bool { return w.status("GET", "/v1/alerts", made, "") == http.StatusOK })
	p.click("button", "I have it")
	p.await("!document.querySelector('.secret')")
	p.click("tr:has(td:nth-child(2)) button", "Revoke") // the newest key is first
	p.says("This cannot be undone")
	p.click("dialog button", "Revoke")
	w.await("the key is revoked", func() bool {
		return w.status("GET", "/v1/alerts", made, "") == http.StatusUnauthorized
	})

	p.open("/replays?new=1")
	p.fill("#w-from", "2026-01-01T00:00")
	p.fill("#w-to", "2026-01-02T00:00")
	p.fill("#w-reason", "<b>try</b>")
	p.click("form button", "Go on")
	p.click("dialog button", "Make it")
	p.says("How it goes")
	p.await("location.pathname === '/replay'")
	p.says("<b>try</b>")

	p.open("/admin?tab=holds")
	p.fill("#h-fleet", "plant-9")
	p.fill("#h-reason", "case 4711")
	p.click("form button", "Go on")
	p.click("dialog button", "Hold it")
	p.says("in force")

	p.open("/admin?tab=audit")
	p.says("POST /v1/keys")
	for _, act := range []string{"DELETE /v1/keys/", "POST /v1/replays", "PUT /v1/holds/plant-9"} {
		p.says(act)
	}
	if text := p.value("document.body.innerText"); strings.Contains(text, made) {
		t.Error("the audit log shows a key")
	}
}
