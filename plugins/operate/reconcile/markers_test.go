package reconcile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/tests/integration/require"
)

func onEveryLog(t *testing.T, test func(w *world)) {
	t.Run("kfake", func(t *testing.T) { test(newWorld(t)) })
	t.Run("kafka", func(t *testing.T) {
		test(newWorldOn(t, require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), fmt.Sprintf("reconcile-%x.", rand.Uint64())))
	})
}

// transaction produces n events to raw-events/0 in one transaction, and returns
// how it ends.
func (w *world) transaction(n int) (end func(commit bool)) {
	w.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(w.brokers, ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID(fmt.Sprintf("reconcile-%x", rand.Uint64())))
	if err != nil {
		w.Fatal(err)
	}
	if err := client.BeginTransaction(); err != nil {
		w.Fatal(err)
	}
	before := w.client
	w.client = client
	w.produce("raw-events", 0, n)
	w.client = before
	return func(commit bool) {
		w.Helper()
		defer client.Close()
		before := w.end()
		if err := client.EndTransaction(context.Background(), kgo.TransactionEndTry(commit)); err != nil {
			w.Fatal(err)
		}
		for w.end() == before { // the marker follows the answer
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// end is where raw-events/0 ends.
func (w *world) end() int64 {
	w.Helper()
	ends, err := w.admin.ListEndOffsets(context.Background(), w.prefix+"raw-events")
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		w.Fatal(err)
	}
	at, _ := ends.Lookup(w.prefix+"raw-events", 0)
	return at.Offset
}

func TestReconcile_OffsetsWithoutEventsAreExplained(t *testing.T) {
	onEveryLog(t, func(w *world) {
		w.produce("raw-events", 0, 2)  // 0, 1
		w.transaction(3)(false)        // 2 to 4, aborted; 5 the marker
		w.transaction(2)(true)         // 6, 7; 8 the marker
		w.produce("raw-events", 0, 2)  // 9, 10
		w.store("raw-events", 0, 0, 2) // what reads committed stores
		w.store("raw-events", 0, 6, 8)
		w.store("raw-events", 0, 9, 10)
		w.commit("weir-raw", "raw-events", 0, 11) // and lost 10
		for _, deep := range []bool{false, true} {
			r := w.run(w.reconciler(deep), Options{})
			if want := (Counts{Accepted: 11, Stored: 5, Markers: 5, Unexplained: 1}); r.Total != want {
				w.Errorf("deep %t: %+v %v", deep, r.Total, named(r))
			}
			if got := named(r); len(got) != 1 || !strings.HasPrefix(got[0], "raw-events/0:10-10 in the log, passed by group") {
				w.Errorf("%q", got)
			}
		}
	})
}

// A group commits what it has processed, and so never the marker that ends the
// log: that is no event in flight, for which one would wait for ever.
func TestReconcile_AMarkerAtTheEndIsNotInFlight(t *testing.T) {
	onEveryLog(t, func(w *world) {
		end := w.transaction(2)
		a := w.reconciler(false)
		if r := w.run(a, Options{}); r.Total != (Counts{Accepted: 2, InFlight: 2}) {
			w.Errorf("an open transaction: %+v", r.Total)
		}
		end(true)
		w.store("raw-events", 0, 0, 2)
		w.commit("weir-raw", "raw-events", 0, 2)
		r := w.run(a, Options{Wait: time.Minute})
		if want := (Counts{Accepted: 3, Stored: 2, Markers: 1}); r.Total != want {
			w.Errorf("%+v %v", r.Total, named(r))
		}
		w.transaction(1)(false)
		if r = w.run(a, Options{Wait: time.Minute}); r.Total != (Counts{Accepted: 5, Stored: 2, Markers: 3}) {
			w.Errorf("after an aborted one: %+v %v", r.Total, named(r))
		}
	})
}

// The broker compacts when it likes: the test waits for it.
func TestReconcile_WhatCompactionTookIsExplained(t *testing.T) {
	w := newWorldOn(t, require.Env(t, "WEIR_TEST_KAFKA_BROKERS"), fmt.Sprintf("reconcile-%x.", rand.Uint64()))
	if _, err := w.admin.AlterTopicConfigs(context.Background(), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "cleanup.policy", Value: kadm.StringPtr("compact")},
		{Op: kadm.SetConfig, Name: "segment.ms", Value: kadm.StringPtr("100")},
		{Op: kadm.SetConfig, Name: "min.cleanable.dirty.ratio", Value: kadm.StringPtr("0.0001")},
		{Op: kadm.SetConfig, Name: "max.compaction.lag.ms", Value: kadm.StringPtr("200")},
	}, w.prefix+"raw-events"); err != nil {
		t.Fatal(err)
	}
	a := w.reconciler(false)
	w.produce("raw-events", 0, 3)
	w.store("raw-events", 0, 0, 1)
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		next := w.produce("raw-events", 0, 1) // the same key: of the older ones, one is kept
		w.store("raw-events", 0, next, next+1)
		w.commit("weir-raw", "raw-events", 0, next+1)
		r := w.run(a, Options{})
		if !r.Loss() && r.Total.Markers >= 2 {
			return
		}
		if time.Now().After(deadline) {
			require.Missing(t, "the broker has not compacted the topic: %+v %v", r.Total, named(r))
		}
	}
}
