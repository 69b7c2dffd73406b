package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Devices are searched by a part of their name, on the server, and the longest silent ones come first.
func TestConsole_DevicesAreFoundByAPartOfTheirNames(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	var events []any
	for i := range 90 {
		events = append(events, event(fmt.Sprintf("pump-%03d", i), time.Now(), nil))
	}
	w.post(append(events, event("valve-7", time.Now().Add(-30*time.Minute), nil))...)
	w.await("the devices are known", func() bool {
		code, raw := w.ask("GET", "/v1/devices?limit=1", w.admin, "")
		return code == http.StatusOK && strings.Contains(string(raw), `"total":91`)
	})
	p.signIn(w.admin)
	p.open("/devices")
	p.says("91 devices")
	p.await("document.querySelector('tbody tr')?.textContent.includes('valve-7')")
	p.await("document.querySelectorAll('tbody tr').length === 50")
	p.click("button", "Show more")
	p.await("document.querySelectorAll('tbody tr').length === 91")
	p.fill("#search", "MP-04")
	p.says("10 devices")
	p.await("location.search.includes('search=MP-04')")
	p.fill("#search", "")
	p.click("nav[aria-label=Silence] a", "Silent 10 min")
	p.says("1 device")
	p.click("tbody a", "valve-7")
	p.await("location.pathname === '/device' && document.querySelector('h1.id')?.textContent === 'valve-7'")
	p.says("History of")
}
