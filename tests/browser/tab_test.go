package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"weir/tests/integration/require"
)

// tools returns the paths of Chromium and axe-core. Without Chromium it skips the test, or fails it in CI.
func tools(t *testing.T) (chromium, axe string) {
	t.Helper()
	chromium = os.Getenv("WEIR_TEST_CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && chromium == "" {
			chromium = path
		}
	}
	if chromium == "" {
		require.Missing(t, "there is no Chromium: tests/browser/tools.sh installs it")
	}
	return chromium, os.Getenv("WEIR_TEST_AXE")
}

// tab is a page in a browser process of its own. It records requests and errors.
type tab struct {
	t    *testing.T
	w    *weir
	ctx  context.Context
	base string

	mu       sync.Mutex
	requests []string // addresses
	wrong    []string // exceptions, and errors that the browser logged
}

// newTab opens a browser. At the end of the test it fails the test if the page sent requests to another host than
// weir, put a key into a URL, or had an error.
func newTab(t *testing.T, w *weir) *tab {
	t.Helper()
	chromium, _ := tools(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(patience), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-dev-shm-usage", true))
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithErrorf(func(string, ...any) {}))
	p := &tab{t: t, w: w, ctx: ctx, base: "http://" + w.api}
	chromedp.ListenTarget(ctx, p.hear)
	t.Cleanup(func() {
		cancel()
		stop()
		p.check()
	})
	if err := chromedp.Run(ctx, network.Enable(), log.Enable(), runtime.Enable()); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	p.look(1440, "light")
	return p
}

func (p *tab) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		p.wrong = append(p.wrong, e.ExceptionDetails.Error())
	case *log.EventEntryAdded: // failed requests are logged here too; some are expected
		if e.Entry.Source != log.SourceNetwork && (e.Entry.Level == log.LevelError || e.Entry.Source == log.SourceSecurity) {
			p.wrong = append(p.wrong, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

func (p *tab) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if !strings.HasPrefix(r, p.base+"/") && !strings.HasPrefix(r, "data:") && !strings.HasPrefix(r, "blob:"+p.base) {
			p.t.Errorf("the page asked %s", r)
		}
		if strings.Contains(r, p.w.admin) || strings.Contains(r, p.w.key) {
			p.t.Errorf("a key is in the address %s", r)
		}
	}
	for _, w := range p.wrong {
		p.t.Errorf("in the page: %s", w)
	}
	if len(p.requests) < 5 {
		p.t.Errorf("only %d requests were seen", len(p.requests))
	}
}

func (p *tab) run(actions ...chromedp.Action) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		p.t.Fatalf("in the browser: %v\n%s", err, p.text())
	}
}

// look sets the page's width and theme.
func (p *tab) look(width int64, theme string) {
	p.t.Helper()
	p.run(emulation.SetDeviceMetricsOverride(width, 900, 1, width < 600),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme},
			{Name: "prefers-reduced-motion", Value: "reduce"}}))
}

// eval runs a script in the page and waits for its promise.
func (p *tab) eval(script string, result any) {
	p.t.Helper()
	p.run(chromedp.Evaluate(script, result, func(e *runtime.EvaluateParams) *runtime.EvaluateParams {
		return e.WithAwaitPromise(true)
	}))
}

// value returns the result of a script as text.
func (p *tab) value(script string) string {
	p.t.Helper()
	var v any
	p.eval(script, &v)
	return fmt.Sprint(v)
}

// await waits until a script's result is true.
func (p *tab) await(script string) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var yes bool
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		err := chromedp.Run(ctx, chromedp.Evaluate("Boolean("+script+")", &yes))
		cancel()
		if err == nil && yes { // an error means that the page is being replaced
			return
		}
	}
	p.t.Fatalf("not within %s: %s\n%s", patience, script, p.text())
}

// text returns the page's address and text, for the message of a failed test.
func (p *tab) text() (s string) {
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	_ = chromedp.Run(ctx, chromedp.Evaluate("location.href + '\\n' + document.body.innerText",
		&s)) // best effort
	return "the page says:\n" + s
}

// says waits until the page contains a text.
func (p *tab) says(text string) {
	p.t.Helper()
	p.await("document.body.innerText.includes(" + quote(text) + ")")
}

// quote returns s as a JavaScript string literal.
func quote(s string) string {
	raw, _ := json.Marshal(s) // a string can always be encoded
	return string(raw)
}

// open navigates to a path of the console.
func (p *tab) open(path string) {
	p.t.Helper()
	p.run(chromedp.Navigate(p.base + path))
	p.await("document.querySelector('main h1')")
}

// signIn opens the console with a key.
func (p *tab) signIn(key string) {
	p.t.Helper()
	p.open("/admin") // has no live figures
	p.typeKey(key)
	p.await("document.querySelector('nav[aria-label=Views]')")
}

func (p *tab) typeKey(key string) {
	p.t.Helper()
	p.fill("#key", "")
	p.run(chromedp.SendKeys("#key", key))
	p.click("main button", "Open")
}

// click clicks the first visible, enabled element of a selector whose text contains text.
func (p *tab) click(selector, text string) {
	p.t.Helper()
	find := "[...document.querySelectorAll(" + quote(selector) + ")].find((e) => !e.disabled && " +
		"e.checkVisibility() && e.textContent.includes(" + quote(text) + "))"
	p.await(find)
	p.eval(find+".click()", nil)
}

// fill sets the value of a field and sends the events of typing.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.await("document.querySelector(" + quote(selector) + ")")
	p.eval(`(() => {
		const e = document.querySelector(`+quote(selector)+`);
		const own = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(e), "value");
		own.set.call(e, `+quote(text)+`);
		e.dispatchEvent(new Event("input", { bubbles: true }));
		e.dispatchEvent(new Event("change", { bubbles: true }));
	})()`, nil)
}

// violations returns the accessibility violations that axe-core finds on the page.
func (p *tab) violations(axe string) []string {
	p.t.Helper()
	p.eval(axe+"; 0", nil)
	var found []struct {
		ID, Help string
		Nodes    []struct {
			HTML, FailureSummary string
		}
	}
	p.eval(`axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) => ({ ID: v.id, Help: v.help,
		Nodes: v.nodes.map((n) => ({ HTML: n.html, FailureSummary: n.failureSummary })) })))`, &found)
	var list []string
	for _, v := range found {
		list = append(list, fmt.Sprintf("%s (%s), %d times, such as %.300s: %s", v.ID, v.Help, len(v.Nodes), v.Nodes[0].HTML,
			v.Nodes[0].FailureSummary))
	}
	return list
}

// device returns the path of a device's view.
func device(fleet, id string) string {
	return "/device?" + url.Values{"fleet": {fleet}, "id": {id}}.Encode()
}
