package replay

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

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

// Large dead letters go in smaller parcels: a job holds sixteen of them.
func TestRedrive_ParcelsAreBoundedInBytes(t *testing.T) {
	w := newWorld(t)
	w.deadLetters(9)
	for _, l := range w.letters {
		l.Original = append(append([]byte(`{"a":"`), bytes.Repeat([]byte("x"), parcelBytes/3)...), `"}`...)
	}
	var most, messages atomic.Int64
	w.stream("", func(batch service.MessageBatch) error {
		size := 0
		for _, msg := range batch {
			text, err := msg.AsBytes()
			if err != nil {
				return err
			}
			size += len(text)
		}
		most.Store(max(most.Load(), int64(size)))
		messages.Add(int64(len(batch)))
		return nil
	})
	j := w.until(w.create(Spec{Mode: Redrive, Codes: []event.Code{event.CodeSchemaViolation}}).ID, ended)
	if j.State != Done || j.Progress.Published != 9 || messages.Load() != 9 || most.Load() > parcelBytes+parcelBytes/3+10 {
		t.Errorf("%s %+v: %d messages, %d bytes at once", j.State, j.Progress, messages.Load(), most.Load())
	}
}

// What may be forged, and what a policy no longer wants, goes back only for who
// asks for it by its code, and whatever else is asked for.
func TestRedrive_SomeCodesGoBackOnlyByName(t *testing.T) {
	for _, code := range event.Codes() {
		l := &letter{Stage: stageIngest, Code: code}
		all, _ := (&Spec{Mode: Redrive, Stages: []string{stageIngest}}).back(l)
		named, validate := (&Spec{Mode: Redrive, Codes: []event.Code{code}}).back(l)
		if code == event.CodeConsentDenied {
			if all != "" || named != "" {
				t.Errorf("%s goes to %q, by name to %q: nothing is left of it", code, all, named)
			}
			continue
		}
		only := code == event.CodeDeviceForbidden || code == event.CodeBlocked || code == event.CodeStale ||
			code == event.CodeQuarantined
		if (all == "") != only || named == "" || !validate {
			t.Errorf("%s: goes to %q, by name to %q", code, all, named)
		}
	}
}
