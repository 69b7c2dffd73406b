package reconcile

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// letterOf stores a dead letter of a record that names its device.
func (w *world) letterOf(record event.Coordinates) {
	w.Helper()
	raw, err := json.Marshal(deadletter.NewEnvelope(deadletter.Failure{Stage: "rollup", Fleet: "f",
		Rejection: event.Reject(event.CodeInvalidEvent, "", "x"),
		Original:  []byte(`{"device_id":"d-1"}`), Record: &record, FailedAt: time.Now()}))
	if err != nil {
		w.Fatal(err)
	}
	r := &kgo.Record{Topic: w.prefix + "dead-letter", Value: raw}
	if err := w.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
	w.records[event.Coordinates{Topic: r.Topic, Offset: r.Offset}] = r
	w.push(w.toDead, service.MessageBatch{w.message("dead-letter", 0, r.Offset)})
	w.commit("weir-dead-letter", "dead-letter", 0, r.Offset+1)
}

// What was erased is a fate of its own: of rows, of dead letters and of the
// records that these came from, of what the log still had for a store, and of
// what repeats any of them.
func TestReconcile_WhatWasErasedIsExplainedAsSuch(t *testing.T) {
	for _, deep := range []bool{false, true} {
		w := filled(t)
		failed := event.Coordinates{Topic: "raw-events", Partition: 1, Offset: w.produce("raw-events", 1, 1)}
		w.letterOf(failed)
		w.commit("weir-raw", "raw-events", 1, failed.Offset+1)
		before := w.run(w.reconciler(deep), Options{}).Total
		now := time.Now()
		for url, table := range map[string]*lake.Table{w.rawURL: raw.Table(), w.deadURL: deadletter.Table()} {
			s, err := lake.Open(context.Background(), url)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Bury(context.Background(), tombstone.Of("f", "d-1", now)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Erase(context.Background(), table, lake.Erasure{Fleet: "f", Device: "d-1", Until: now}); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
		}
		r := w.run(w.reconciler(deep), Options{})
		rows := before.Stored - 2 // of events and of one dead letter; two are of no fleet
		if r.Loss() || r.Total.Erased != rows+1 || r.Total.DeadLettered != before.DeadLettered-1 ||
			r.Total.Stored != before.Stored-rows || r.Total.Duplicates != before.Duplicates {
			t.Errorf("deep %t: %+v, before %+v; %v %v", deep, r.Total, before, named(r), r.Problems)
		}
	}
}
