package browser

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// behind serves weir below a path through a reverse proxy. One that collects forwards an answer only when it is
// complete, which a stream never is.
func (w *weir) behind(path string, collects bool) (base string) {
	w.t.Helper()
	at := &url.URL{Scheme: "http", Host: w.api}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(at) },
		FlushInterval: -1,
		ErrorHandler:  func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) },
	}
	if collects {
		proxy.ModifyResponse = func(resp *http.Response) error {
			whole, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			resp.Body.Close()
			resp.Body = io.NopCloser(strings.NewReader(string(whole)))
			return nil
		}
	}
	s := httptest.NewServer(http.StripPrefix(path, proxy))
	w.t.Cleanup(func() { s.CloseClientConnections(); s.Close() }) // otherwise Close waits for streams
	return s.URL + path
}

// Behind a proxy, all requests and views stay below its path. If the proxy holds back streams, the overview polls,
// and says so.
func TestConsole_BelowAPathOfAProxy(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.base = w.behind("/plant/weir", false)
	w.post(event("pump-1", time.Now(), nil))
	p.signIn(w.admin)
	p.open("/")
	p.says("It adds up.")
	p.await("document.querySelector('[data-name=accepted]')?.textContent === '1'")   // so the figure comes from weir
	p.await("!document.querySelector('.title .side').textContent.includes('asked')") // live, not polled
	w.await("the device is known", func() bool {
		return strings.Contains(string(second(w.ask("GET", "/v1/devices", w.admin, ""))), "pump-1")
	})
	p.click("nav[aria-label=Views] a", "Devices")
	p.await("location.pathname === '/plant/weir/devices'")
	p.click("tbody a", "pump-1")
	p.await("location.pathname === '/plant/weir/device'")
	p.says("61.5")
	p.run(chromedp.Reload())
	p.says("History of")
	p.eval("document.activeElement.blur()", nil)
	p.run(chromedp.KeyEvent("g"), chromedp.KeyEvent("l"))
	p.await("location.pathname === '/plant/weir/dead-letters'")
	p.fill("#f-code", "expired")
	p.await("location.pathname === '/plant/weir/dead-letters' && location.search.includes('code=expired')")
	p.eval("history.back()", nil)
	p.await("location.pathname === '/plant/weir/device' && document.querySelector('h1.id')")

	slow := newTab(t, w)
	slow.base = w.behind("/weir", true)
	slow.signIn(w.admin)
	slow.open("/")
	slow.says("asked every five seconds")
	slow.says("It adds up.")
	w.post(event("pump-2", time.Now(), nil))
	slow.await("document.querySelector('[data-name=accepted]')?.textContent === '2'")
	// Polling does not mark the figures as stale or weir as lost.
	slow.await("!document.querySelector('.title .fresh').classList.contains('old')")
	slow.await("!document.documentElement.hasAttribute('data-lost')")
}

func second[A, B any](_ A, b B) B { return b }
