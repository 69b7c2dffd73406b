package replay

import (
	"fmt"
	"strings"
	"testing"
)

func TestReasons_AreCountedAndBounded(t *testing.T) {
	var p Progress
	for i := range 100 {
		p.because(fmt.Sprintf("schema_violation: /metrics/m%d: expected a number", i))
		p.because("unknown_firmware")
	}
	p.because(strings.Repeat("ä", reasonMost))
	sum := int64(0)
	for _, r := range p.Reasons {
		sum += r.Count
		if len(r.Reason) > reasonMost+len("…") {
			t.Errorf("a reason of %d bytes", len(r.Reason))
		}
	}
	if p.Refused != 201 || sum != 201 || len(p.Reasons) > reasonsMost+1 ||
		p.Reasons[0] != (Reason{"unknown_firmware", 100}) {
		t.Errorf("%d refused, %d with reasons: %v", p.Refused, sum, p.Reasons)
	}
}
