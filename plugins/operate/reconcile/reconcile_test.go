package reconcile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/tests/integration/require"
)

// named lists the unexplained offsets of a report as "partition:first-last".
func named(r *Report) (out []string) {
	for _, p := range r.Partitions {
		for _, g := range p.Ranges {
			out = append(out, p.Topic[strings.LastIndexByte(p.Topic, '.')+1:]+"/"+string('0'+rune(p.Partition))+":"+
				itoa(g.First)+"-"+itoa(g.Last)+" "+g.Reason)
		}
	}
	return out
}

func itoa(n int64) string { return string(event.Coordinates{Offset: n}.Append(nil)[3:]) }

// filled is a world in which all of a partition's fates occur and all is well.
func filled(t *testing.T) *world { return newWorld(t).fill() }

func (w *world) fill() *world {
	w.produce("raw-events", 0, 45)
	for o := int64(45); o < 95; o += 10 {
		w.again("raw-events", 0, o-30)
		w.produce("raw-events", 0, 9)
	}
	w.produce("raw-events", 0, 5)
	w.produce("raw-events", 1, 50)
	w.store("raw-events", 0, 0, 40)
	var batch service.MessageBatch
	for o := int64(40); o < 90; o++ {
		msg := w.message("raw-events", 0, o)
		if o%10 == 5 {
			msg.MetaSetMut(event.MetaDuplicateOf, w.at(0, o-30).String())
		}
		if o == 60 {
			continue // dead-lettered
		}
		batch = append(batch, msg)
	}
	w.push(w.toRaw, batch)
	poison := w.at(0, 60)
	w.deadLetter(&poison, true)
	w.deadLetter(nil, true) // one from the gate
	w.store("raw-events", 1, 0, 50)
	w.commit("weir-raw", "raw-events", 0, 90)
	w.commit("weir-raw", "raw-events", 1, 50)
	return w
}

func TestReconcile_EveryFateIsExplained(t *testing.T) {
	for _, deep := range []bool{false, true} {
		w := filled(t)
		r := w.run(w.reconciler(deep), Options{})
		want := Counts{Accepted: 152, Stored: 136, Duplicates: 5, DeadLettered: 1, InFlight: 10}
		if r.Total != want || r.Loss() {
			t.Errorf("deep %t: %+v %v %v", deep, r.Total, named(r), r.Problems)
		}
	}
}

func TestReconcile_WhatIsInFlightIsWaitedFor(t *testing.T) {
	w := filled(t)
	go func() {
		time.Sleep(700 * time.Millisecond)
		w.produce("raw-events", 0, 5) // what comes later is not waited for
		w.store("raw-events", 0, 90, 100)
		w.commit("weir-raw", "raw-events", 0, 100)
	}()
	asked := 0
	r := w.run(w.reconciler(false), Options{Wait: 20 * time.Second, Waiting: func(*Report) { asked++ }})
	if r.Total.InFlight != 0 || r.Total.Accepted != 152 || r.Loss() || asked == 0 {
		t.Errorf("%+v after %d waits", r.Total, asked)
	}
}

func TestReconcile_EveryLostOffsetIsNamed(t *testing.T) {
	w := filled(t)
	w.produce("raw-events", 1, 30)
	w.store("raw-events", 1, 50, 60)
	w.store("raw-events", 1, 65, 79)
	w.commit("weir-raw", "raw-events", 1, 80)
	for _, deep := range []bool{false, true} {
		r := w.run(w.reconciler(deep), Options{})
		const why = " in the log, passed by group weir-raw, and in no store"
		if want := []string{"raw-events/1:60-64" + why, "raw-events/1:79-79" + why}; !slices.Equal(named(r), want) ||
			!r.Loss() {
			t.Errorf("deep %t: %q", deep, named(r))
		}
	}
}

func objects(t *testing.T, url string) []string {
	found, err := filepath.Glob(filepath.Join(strings.TrimPrefix(url, "file://"), "date=*", "*.parquet"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no objects in %s (%v)", url, err)
	}
	return found
}

func TestReconcile_ALostObjectIsNoticedByTheSameReconciler(t *testing.T) {
	w := filled(t)
	a := w.reconciler(false)
	if r := w.run(a, Options{}); r.Loss() {
		t.Fatal(named(r))
	}
	for _, name := range objects(t, w.rawURL) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if r := w.run(a, Options{}); r.Total.Unexplained < 130 {
		t.Errorf("%+v", r.Total)
	}
}

func TestReconcile_DeadLettersStillOnTheLogCount(t *testing.T) {
	w := filled(t)
	lost := w.at(1, 50)
	w.produce("raw-events", 1, 1)
	w.commit("weir-raw", "raw-events", 1, 51)
	w.deadLetter(&lost, false)
	r := w.run(w.reconciler(false), Options{})
	if r.Loss() || r.Total.DeadLettered != 2 || r.Total.InFlight != 11 {
		t.Errorf("%+v %v", r.Total, named(r))
	}
	// A dead letter that its group has passed and no store holds is lost itself.
	w.commit("weir-dead-letter", "dead-letter", 0, 3)
	r = w.run(w.reconciler(false), Options{})
	if got := named(r); len(got) != 1 || !strings.HasPrefix(got[0], "dead-letter/0:2-2") {
		t.Errorf("%q", got)
	}
}

func TestReconcile_ReplaysStandForTheirFirstDelivery(t *testing.T) {
	w := filled(t)
	for range 3 {
		w.republish("replay-events", 0, w.at(0, 3), w.at(0, 3).String())
	}
	w.produce("replay-events", 0, 2, kgo.RecordHeader{Key: event.HeaderTarget, Value: []byte("rollup,detect")})
	w.republish("replay-events", 0, w.at(0, 3), w.at(1, 77).String()) // of nothing
	w.republish("raw-events", 1, w.at(0, 60), w.at(0, 60).String())   // a redrive of the dead letter
	w.commit("weir-raw", "replay-events", 0, 6)
	w.commit("weir-raw", "raw-events", 1, 51)
	a := w.reconciler(false)
	for range 2 { // the second time from memory
		r := w.run(a, Options{})
		if got := named(r); len(got) != 1 || got[0] != "replay-events/0:5-5 said to repeat a record that nothing explains" {
			t.Errorf("%q", got)
		}
		if r.Total.Duplicates != 5+3+1 || r.Total.Other != 2 {
			t.Errorf("%+v", r.Total)
		}
	}
}

// age makes the one object of the raw store one that was written long before the
// log begins, in the folder of its day.
func (w *world) age() {
	w.Helper()
	old := objects(w.T, w.rawURL)[0]
	dir, file := filepath.Split(old)
	parts := strings.SplitN(file, "_", 2)
	if err := os.Rename(old, filepath.Join(dir, "20200101T000000.000000Z_"+parts[1])); err != nil {
		w.Fatal(err)
	}
}

func TestReconcile_AReplayOfAnOldDayIsFoundThere(t *testing.T) {
	w := newWorld(t)
	w.produce("raw-events", 0, 4)
	w.store("raw-events", 0, 0, 4)
	w.age()
	w.remove("raw-events", 0, 4)
	w.commit("weir-raw", "raw-events", 0, 4)
	w.republish("replay-events", 0, w.at(0, 2), w.at(0, 2).String())
	w.commit("weir-raw", "replay-events", 0, 1)
	a := w.reconciler(false)
	r := w.run(a, Options{})
	if r.Loss() || r.Total.Duplicates != 1 {
		t.Errorf("%+v %q", r.Total, named(r))
	}
}

func TestReconcile_WhatTheLogDeletedUnprocessedIsALoss(t *testing.T) {
	w := filled(t)
	w.produce("raw-events", 1, 50)
	w.remove("raw-events", 1, 70)
	spilled := w.at(1, 55)
	w.deadLetter(&spilled, true)
	r := w.run(w.reconciler(false), Options{})
	const why = " gone from the log, and in no store"
	if got := named(r); !slices.Equal(got, []string{"raw-events/1:50-54" + why, "raw-events/1:56-69" + why}) {
		t.Errorf("%q", got)
	}
}

func TestReconcile_WhatIsDeletedBetweenTwoRunsIsReconciled(t *testing.T) {
	w := filled(t)
	a := w.reconciler(false)
	if r := w.run(a, Options{}); r.Loss() {
		t.Fatal(named(r))
	}
	w.produce("raw-events", 1, 20)
	w.store("raw-events", 1, 50, 60)
	w.commit("weir-raw", "raw-events", 1, 70) // 60 to 69 are lost
	w.remove("raw-events", 1, 70)
	if got := named(w.run(a, Options{})); !slices.Equal(got,
		[]string{"raw-events/1:60-69 gone from the log, and in no store"}) {
		t.Errorf("%q", got)
	}
}

func TestReconcile_ALogThatLostItsEndIsNoticed(t *testing.T) {
	w := newWorld(t)
	w.produce("raw-events", 0, 10)
	w.store("raw-events", 0, 0, 10)
	other := newWorld(t) // the same stores beside a younger log
	other.produce("raw-events", 0, 4)
	other.rawURL = w.rawURL
	other.commit("weir-raw", "raw-events", 0, 4)
	r := other.run(other.reconciler(false), Options{})
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "lost its end") || !r.Loss() {
		t.Errorf("%q", r.Problems)
	}
}

func TestReconcile_ATimeRangeIsReconciled(t *testing.T) {
	w := newWorld(t)
	w.produce("raw-events", 0, 10)
	time.Sleep(50 * time.Millisecond)
	middle := time.Now()
	time.Sleep(50 * time.Millisecond)
	w.produce("raw-events", 0, 10)
	w.store("raw-events", 0, 10, 20)
	w.commit("weir-raw", "raw-events", 0, 20)
	a := w.reconciler(false)
	if r := w.run(a, Options{From: middle}); r.Loss() || r.Total.Accepted != 10 {
		t.Errorf("after: %+v", r.Total)
	}
	if r := w.run(a, Options{To: middle}); r.Total.Unexplained != 10 || r.Total.Accepted != 10 {
		t.Errorf("before: %+v", r.Total)
	}
}

func TestReconcile_AnUnreachableLogIsAnErrorNotALoss(t *testing.T) {
	w := newWorld(t)
	w.brokers = "127.0.0.1:1"
	a := w.reconciler(false)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if r, err := a.Run(ctx, Options{}); err == nil {
		t.Errorf("%+v", r.Total)
	}
}

// TestReconcile_ARealKafkaIsReconciled repeats the main fates on a real Kafka.
func TestReconcile_ARealKafkaIsReconciled(t *testing.T) {
	w := newWorldOn(t, require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), fmt.Sprintf("reconcile-%x.", rand.Uint64()))
	a := w.reconciler(true)
	if r := w.run(a, Options{}); r.Loss() || r.Total.Accepted != 0 { // groups and records that are not there yet
		t.Fatalf("%+v %v", r.Total, r.Problems)
	}
	w.fill()
	r := w.run(a, Options{})
	if want := (Counts{Accepted: 152, Stored: 136, Duplicates: 5, DeadLettered: 1, InFlight: 10}); r.Total != want ||
		r.Loss() {
		t.Errorf("%+v %v %v", r.Total, named(r), r.Problems)
	}
	w.produce("raw-events", 1, 30)
	w.store("raw-events", 1, 50, 60)
	w.remove("raw-events", 1, 70)
	w.commit("weir-raw", "raw-events", 1, 75)
	r = w.run(a, Options{})
	if want := []string{"raw-events/1:60-69 gone from the log, and in no store",
		"raw-events/1:70-74 in the log, passed by group " + w.prefix + "weir-raw, and in no store"}; !slices.Equal(named(r),
		want) {
		t.Errorf("%q", named(r))
	}
}
