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
			if want := (Counts{Accepted: 3, Stored: 1, Duplicates: 1, FalseDuplicates: 1}); r.Total != want || !r.Loss() ||
				r.Compared != 2 {
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

// The topic is made anew under a reconciler that has learned of it: the same
// offsets are other records now, and the run says so.
func TestReconcile_ATopicMadeAnewIsAnother(t *testing.T) {
	w := newWorld(t)
	w.transaction(3)(false)
	a := w.reconciler(false)
	w.commit("weir-raw", "raw-events", 0, 0)
	if r := w.run(a, Options{}); r.Total.Markers != 4 || r.Loss() {
		t.Fatalf("%+v %v", r.Total, named(r))
	}
	w.renew("raw-events", 2)
	w.produce("raw-events", 0, 6)
	w.commit("weir-raw", "raw-events", 0, 6) // and none is stored
	r := w.run(a, Options{})
	if r.Total.Markers != 0 || r.Total.Unexplained != 6 || len(r.Problems) != 1 {
		t.Errorf("%+v %v %v", r.Total, named(r), r.Problems)
	}
	if r = w.run(a, Options{}); len(r.Problems) != 0 {
		t.Errorf("said again: %v", r.Problems)
	}
}

func (w *world) renew(topic string, partitions int32) {
	w.Helper()
	if _, err := w.admin.DeleteTopic(w.Context(), w.prefix+topic); err != nil {
		w.Fatal(err)
	}
	created, err := w.admin.CreateTopic(w.Context(), partitions, 1, nil, w.prefix+topic)
	if err == nil {
		err = created.Err
	}
	if err != nil {
		w.Fatal(err)
	}
	w.connect() // a client goes on with the topic that it knew
}
