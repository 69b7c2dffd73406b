package alert

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The shipped stream looks at the metrics of its own process, again and again.
func TestWatch_TheShippedStreamLooks(t *testing.T) {
	raw, err := os.ReadFile("../../../configs/streams/watch.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "for: 30s") {
		t.Fatal("the shipped conditions have changed: look after this test")
	}
	h := newHouse(t)
	metrics := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "# TYPE weir_dedupe_store_up gauge\nweir_dedupe_store_up{stream=\"raw\"} 1\n")
	})
	h.run("watch.yaml", map[string]string{"WEIR_OPS_ADDRESS": strings.TrimPrefix(metrics.URL, "http://"),
		"WEIR_WATCH_INTERVAL": "10ms"})
	within(t, 25*time.Second, "the shipped stream's looks", func() bool { return len(metrics.got()) > 15 })
}
