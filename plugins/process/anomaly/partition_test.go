package anomaly

import (
	"fmt"
	"testing"
)

// A batch comes again with the transitions that it had, though each of its events
// had some.
func TestAnomaly_ABatchOfAlertsIsRememberedAsAWhole(t *testing.T) {
	p := &partition{high: -1}
	const batch, batches = 1_000_000 / 120, 9 // of log_input, of the smallest events
	for offset := range int64(batch * batches) {
		p.advance(offset, "")
		p.remember(offset, fmt.Sprint(offset))
		if offset%batch < batch-1 {
			continue
		}
		for again := offset - batch + 1; again <= offset; again++ {
			if got := p.recall(again); got != fmt.Sprint(again) {
				t.Fatalf("%d is remembered as %q", again, got)
			}
		}
	}
	if len(p.alerts) > keptAlerts || p.recall(0) != "" {
		t.Errorf("%d events are remembered", len(p.alerts))
	}
}
