package reconcile

import (
	"slices"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
)

// repeat stores records of raw-events/0 as duplicates of another.
func (w *world) repeat(of event.Coordinates, offsets ...int64) {
	w.Helper()
	var batch service.MessageBatch
	for _, o := range offsets {
		msg := w.message("raw-events", 0, o)
		msg.MetaSetMut(event.MetaDuplicateOf, of.String())
		batch = append(batch, msg)
	}
	w.push(w.toRaw, batch)
	w.commit("weir-raw", "raw-events", 0, offsets[len(offsets)-1]+1)
}

// A claim that outlived its log marks an event as a duplicate of another one.
func TestReconcile_ADuplicateOfAnotherEventIsNamed(t *testing.T) {
	for _, deep := range []bool{false, true} {
		w := newWorld(t)
		w.produce("raw-events", 0, 2)
		w.again("raw-events", 0, 0) // 2
		w.store("raw-events", 0, 0, 1)
		w.repeat(w.at(0, 0), 1, 2) // 1 is another event
		a := w.reconciler(deep)
		for range 2 { // the second time from memory
			r := w.run(a, Options{})
			if want := (Counts{Accepted: 3, Stored: 1, Duplicates: 1, FalseDuplicates: 1}); r.Total != want || !r.Loss() || r.Compared != 2 {
				t.Fatalf("deep %t: %+v, compared %d", deep, r.Total, r.Compared)
			}
			if got := named(r); !slices.Equal(got, []string{"raw-events/0:1-1 said to repeat a record that is another event"}) {
				t.Errorf("%q", got)
			}
		}
		alert := alertOf(w.run(a, Options{}))
		if alert.Summary == "" || len(alert.Details["ranges"].([]string)) != 1 {
			t.Errorf("%+v", alert)
		}
	}
}

// What a duplicate repeats has left the log, or the log was made anew under the
// store: the row of the raw store says which event it is.
func TestReconcile_ARowSaysWhatTheLogDoesNot(t *testing.T) {
	w := newWorld(t)
	w.produce("raw-events", 0, 2)
	w.store("raw-events", 0, 0, 2)
	w.again("raw-events", 0, 0)
	w.produce("raw-events", 0, 1)
	w.repeat(w.at(0, 0), 2, 3) // 3 is another event
	w.remove("raw-events", 0, 2)
	r := w.run(w.reconciler(false), Options{})
	if want := (Counts{Accepted: 2, Duplicates: 1, FalseDuplicates: 1}); r.Total != want || !r.Loss() {
		t.Errorf("%+v %v", r.Total, named(r))
	}
}
