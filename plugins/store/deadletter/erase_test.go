package deadletter

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
	"weir/tests/integration/testbed"
)

func letter(t *testing.T, fleet, original string, failed time.Time) *Envelope {
	t.Helper()
	return NewEnvelope(Failure{Stage: "ingest", Fleet: fleet, FailedAt: failed, Original: []byte(original),
		Rejection: event.Reject(event.CodeInvalidJSON, "", "x")})
}

// The dead letters of an erased device are erased with their outcomes, also if only their bytes
// name the device, and do not come back. Those of other devices, of a device of the same name in
// another fleet, and later ones stay.
func TestDeadLetter_DeadLettersOfADeviceAreErasedEvenWhenOnlyTheirBytesNameIt(t *testing.T) {
	ctx, url := context.Background(), lake.FileURL(t.TempDir())
	o := kept(t, url)
	until := someTime
	letters := []*Envelope{
		letter(t, "acme", `{"device_id":"pump-1","metrics":{`, until),
		letter(t, "acme", `{broken "device_id":"pump-1"`, until),
		letter(t, "acme", `[{"device_id":"pump-2"},{"device_id":"pump-1"},`, until),
		letter(t, "acme", `{"device_id":"pump-10"}`, until),
		letter(t, "acme", `{broken "pump-10" "pump-1.b"`, until),
		letter(t, "other", `{"device_id":"pump-1"}`, until),
		letter(t, "acme", `{"device_id":"pump-1"}`, until.Add(time.Second)),
	}
	send := func(o *output, from int) {
		t.Helper()
		var batch service.MessageBatch
		for i, e := range letters {
			batch = append(batch, message(0, from+i, mustJSON(t, e)))
		}
		if err := o.WriteBatch(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	send(o, 100)
	db := testbed.SQLite(t)
	outcomes, err := OpenOutcomes(ctx, db, event.LogTelemetry)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range letters {
		if err := outcomes.Record(ctx, []Outcome{{ID: e.ID, Job: "j", Published: i%2 == 0, At: until}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tombstone.Migrate(ctx, db); err != nil {
		t.Fatal(err)
	}
	if err := o.Store.Bury(ctx, tombstone.Of("acme", "pump-1", until)); err != nil {
		t.Fatal(err)
	}
	var ids [][16]byte
	removed, err := o.Store.Erase(ctx, Table(), lake.Erasure{Fleet: "acme", Device: "pump-1", Until: until,
		Row:    func(r lake.Ref) { ids = append(ids, idOf(r)) },
		Before: func(lake.Object, int64) error { return eraseOutcomes(ctx, db, "job", ids) }})
	if err != nil || removed.Rows != 3 {
		t.Fatalf("%+v, %v", removed, err)
	}
	left := func() (left []string) {
		for _, r := range stored(t, url) {
			left = append(left, string(r.Original))
		}
		slices.Sort(left)
		return left
	}
	var want []string
	for _, e := range letters[3:] {
		want = append(want, e.Original)
	}
	slices.Sort(want)
	if got := left(); !slices.Equal(got, want) {
		t.Fatalf("left: %q", got)
	}
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM dead_letter_outcome`).Scan(&n); err != nil || n != 4 {
		t.Fatalf("%d outcomes are left, want 4, %v", n, err)
	}
	counted := map[string]int64{}
	if err := tombstone.Counts(ctx, db, "job", counted); err != nil || counted[outcomesCounted] != 3 {
		t.Fatal(counted, err)
	}
	again := kept(t, url) // they arrive again: redriven, or already in the topic
	for i := range letters {
		letters[i].ID = letter(t, "x", letters[i].Original, until).ID
	}
	send(again, 200)
	got := left()
	for _, erased := range letters[:3] {
		if slices.Contains(got, erased.Original) {
			t.Errorf("an erased dead letter was stored again: %s", erased.Original)
		}
	}
	if len(got) < len(want) {
		t.Errorf("left: %q", got)
	}
}
