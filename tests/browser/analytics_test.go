package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/tests/integration/require"
)

// User events appear on the analytics page within seconds, for the fleet of the key. Without the analytics rules the
// page says so. Filled with figures, it passes the accessibility checks and fits the window.
func TestConsole_AnalyticsShowWhatPeopleDo(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newTab(t, w)
	p.signIn(w.key)
	p.open("/analytics")
	p.says("or the rules of analytics are not in force")
	text, err := os.ReadFile(filepath.Join("..", "..", "configs", "analytics.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kept := w.did("POST", "/v1/rule-versions", w.admin, fmt.Sprintf(`{"text": %q, "comment": "analytics"}`, text))
	w.did("POST", fmt.Sprintf("/v1/rule-versions/%v/activate", kept["number"]), w.admin, "")
	now := time.Now()
	for i, kind := range []string{"product_viewed", "cart_added", "checkout_started", "order_placed"} {
		e := map[string]any{"metadata": map[string]any{"type": kind}, "user": map[string]any{"id": "pii-user-1"},
			"payload": map[string]any{"currency": "EUR", "campaign": "autumn"},
			"metrics": map[string]any{"cpu_temp": 1, "battery_voltage": 1, "vibration": 0, "amount_minor": 1999}}
		w.post(event("browser-1", now.Add(time.Duration(i-4)*time.Second), e))
	}
	for id, shows := range map[string]string{
		"series": "order_placed", "revenue": "€19.99", "now": "people in five minutes1"} {
		p.await(fmt.Sprintf("document.querySelector('section[aria-labelledby=%s]')?.textContent.includes(%q)", id, shows))
	}
	axe, err := os.ReadFile(require.Env(t, "WEIR_TEST_AXE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, width := range []int64{1440, 390} {
		p.look(width, "dark")
		for _, v := range p.violations(string(axe)) {
			t.Errorf("%d wide: %s", width, v)
		}
		if p.value(fmt.Sprintf("document.documentElement.scrollWidth > %d", width)) == "true" {
			t.Errorf("the page is wider than %d", width)
		}
	}
}
