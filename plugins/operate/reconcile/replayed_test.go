package reconcile

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/platform/kafka"
)

// A store that takes what was published again for an event that it has, by its
// coordinates alone, loses it: the row there is another event's.
func TestReconcile_AReplayThatIsAnotherEventIsNamed(t *testing.T) {
	for _, deep := range []bool{false, true} {
		w := newWorld(t)
		w.produce("raw-events", 0, 3)
		w.store("raw-events", 0, 0, 3)
		w.commit("weir-raw", "raw-events", 0, 3)
		w.republish("replay-events", 0, w.at(0, 1), w.at(0, 1).String())
		w.republish("replay-events", 0, w.at(0, 2), w.at(0, 1).String())
		w.republish("replay-events", 0, w.at(0, 2), w.at(0, 1).String(),
			kgo.RecordHeader{Key: event.HeaderPatched, Value: []byte("1")}) // may have another id than its delivery
		w.store("replay-events", 0, 0, 3)
		w.commit("weir-raw", "replay-events", 0, 3)
		a := w.reconciler(deep)
		for range 2 { // the second time from memory
			r := w.run(a, Options{})
			if want := (Counts{Accepted: 6, Stored: 3, Duplicates: 2, FalseDuplicates: 1}); r.Total != want || !r.Loss() {
				t.Errorf("deep %t: %+v", deep, r.Total)
			}
			if got := named(r); !slices.Equal(got,
				[]string{"replay-events/0:1-1 said to repeat a record that is another event"}) {
				t.Errorf("deep %t: %q", deep, got)
			}
		}
	}
}

// Rows of an older log are replayed, and redriven: in today's log other events lie
// at their coordinates, and the rows themselves say which events they are.
func TestReconcile_ReplaysOfAnOlderLogAreKnownByTheirRows(t *testing.T) {
	for _, deep := range []bool{false, true} {
		w := newWorld(t)
		w.produce("raw-events", 0, 3)
		w.store("raw-events", 0, 0, 3)
		w.age()
		w.republish("replay-events", 0, w.at(0, 1), w.at(0, 1).String())
		w.republish("replay-events", 0, w.at(0, 2), w.at(0, 2).In("00000000000000a1"))
		w.renew("raw-events", 2)
		w.produce("raw-events", 0, 3)
		w.toRaw = w.output("raw_store", w.rawURL) // one that has read nothing yet
		w.store("raw-events", 0, 0, 3)
		w.store("replay-events", 0, 0, 2)
		w.commit("weir-raw", "raw-events", 0, 3)
		w.commit("weir-raw", "replay-events", 0, 2)
		r := w.run(w.reconciler(deep), Options{})
		if want := (Counts{Accepted: 5, Stored: 3, Duplicates: 2}); r.Total != want || r.Loss() {
			t.Errorf("deep %t: %+v %q", deep, r.Total, named(r))
		}
		if r.Compared != 2 {
			t.Errorf("deep %t: %d were compared", deep, r.Compared)
		}
	}
}

// The topic of events was made anew, that of dead letters was not: what those on it
// say of the old log explains nothing of the new.
func TestReconcile_ADeadLetterOfAnOlderLogExplainsNoRecordOfTodays(t *testing.T) {
	w := newWorld(t)
	w.produce("raw-events", 0, 2)
	w.commit("weir-raw", "raw-events", 0, 2)
	logs := kafka.NewLogs(w.config().Log, "test")
	defer logs.Close()
	today, err := logs.Of(t.Context(), time.Now(), "raw-events")
	if err != nil {
		t.Fatal(err)
	}
	older, own := w.at(0, 0), w.at(0, 1)
	w.deadLetterOf("00000000000000a1", &older, false)
	w.deadLetterOf(today[0].String(), &own, false)
	r := w.run(w.reconciler(false), Options{})
	if r.Total.DeadLettered != 1 || r.Total.Unexplained != 1 || !r.Loss() {
		t.Errorf("%+v %q", r.Total, named(r))
	}
}
