package scenarios

import (
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A producer writes events in transactions. An aborted event is neither stored nor counted and has no claim, so that
// the same event, sent again and committed, counts. Reconcile explains the transaction markers and the aborted
// records.
func TestTransactions_WhatWasAbortedIsNoEvent(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start()
	s.ready()
	s.createKey()
	client, err := kgo.NewClient(append(s.brokerOptions(), kgo.TransactionalID("producer"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	transaction := func(end kgo.TransactionEndTry, events ...string) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			r := &kgo.Record{Topic: "raw-events", Key: []byte("pump-1"), Value: []byte(e), Headers: []kgo.RecordHeader{
				{Key: "weir_fleet", Value: []byte(fleetName)}, {Key: "weir_schema", Value: []byte("telemetry/2")},
				{Key: "weir_received_at", Value: []byte(time.Now().UTC().Format(time.RFC3339Nano))}}}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	never, again, once := oneEvent("aborted-1"), oneEvent("pump-1"), oneEvent("pump-1")
	transaction(kgo.TryAbort, never, again)
	transaction(kgo.TryCommit, again, once)
	transaction(kgo.TryAbort, never)
	s.verified(again, once)
	if n := s.stored(); n != 2 {
		t.Errorf("%d events are stored, want the 2 that were committed", n)
	}
	if code, body := s.request("http://"+s.addresses[1]+"/v1/devices/aborted-1/latest", "GET", s.key, ""); code !=
		http.StatusNotFound {
		t.Errorf("the device of the aborted event: %d %s", code, body)
	}
}
