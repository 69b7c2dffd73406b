package replay

import (
	"strings"
	"testing"

	"weir/internal/event"
)

// The beginning of an event is no event: what was cut does not go back, and the
// reason is there before and after the try.
func TestRedrive_ACutLetterIsRefusedWithItsReason(t *testing.T) {
	w := newWorld(t)
	w.deadLetters(2)
	w.letters[1].Cut = "of 9000000 bytes it has the first 8"
	w.stream("", nil)
	if j := w.until(w.create(Spec{Mode: Redrive, DryRun: true}).ID,
		ended); !strings.Contains(j.Result.Preview.Samples[1].Problem, w.letters[1].Cut) {
		t.Errorf("the preview: %+v", j.Result.Preview.Samples)
	}
	j := w.until(w.create(Spec{Mode: Redrive, Codes: []event.Code{event.CodeSchemaViolation}}).ID, ended)
	if j.State != Done || j.Progress.Published != 1 || j.Progress.Refused != 1 ||
		!strings.Contains(w.outcomes["l1"].Reason, w.letters[1].Cut) {
		t.Errorf("%s %+v, %+v", j.State, j.Progress, w.outcomes)
	}
}
