package deadletter

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
)

// kept stores one dead letter for each of the given times of failure, each in its own object, and
// returns the output, which is open until the test ends.
func kept(t *testing.T, url string, times ...time.Time) *output {
	t.Helper()
	conf, err := outputSpec().ParseYAML("url: "+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := newOutput(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Connect(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close(context.Background()) })
	for i, at := range times {
		c := event.Coordinates{Topic: "raw-events", Offset: int64(i)}
		e := NewEnvelope(Failure{Stage: "raw", Fleet: fmt.Sprintf("fleet-%d", i%2), Record: &c, FailedAt: at,
			Original: []byte(`{"device_id":"d"}`), Rejection: event.Reject(event.CodeInvalidEvent, "", "x")})
		o.now = func() time.Time { return at.Add(time.Second) }
		if err := o.WriteBatch(context.Background(), service.MessageBatch{message(0, 100+i, mustJSON(t, e))}); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func maintained(t *testing.T, url string, p expire.Pass) lake.Report {
	t.Helper()
	store, err := lake.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r, err := lake.Duty{Table: Table(), Keep: 30 * 24 * time.Hour, Compact: true, Lifecycle: true}.Do(t.Context(), store,
		p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDeadLetter_OldDeadLettersGoAndTheRestIsMerged(t *testing.T) {
	url := lake.FileURL(t.TempDir())
	var times []time.Time
	for i := range 20 {
		times = append(times, someTime.Add(-time.Duration(i)*time.Minute),
			someTime.AddDate(0, 0, -40).Add(time.Duration(i)*time.Second))
	}
	kept(t, url, times...)
	p := expire.Pass{Now: someTime.Add(12 * time.Hour), DryRun: true}
	if r := maintained(t, url, p); r.Retention.Rows != 20 || len(stored(t, url)) != 40 {
		t.Fatalf("dry run: %+v", r)
	}
	p.DryRun = false
	p.Held = func(context.Context) ([]string, error) { return []string{"fleet-1", "other"}, nil }
	if r := maintained(t, url, p); r.Retention.Rows != 0 || r.Retention.Kept != 20 || r.Merged < 20 || r.Into > 4 {
		t.Fatalf("with a hold: %+v", r) // the fleets alternate, so all that are 40 days old are of fleet-1
	}
	p.Held = nil
	if r := maintained(t, url, p); r.Retention.Rows != 20 {
		t.Fatalf("%+v", r)
	}
	for _, row := range stored(t, url) {
		if row.FailedAt < someTime.AddDate(0, 0, -1).UnixMicro() {
			t.Fatalf("retention left %+v", row)
		}
	}
}

func TestDeadLetter_AFleetsDeadLettersCanBeErased(t *testing.T) {
	url := lake.FileURL(t.TempDir())
	o := kept(t, url, someTime, someTime.Add(1), someTime.Add(2))
	now := time.Now()
	if err := o.Store.Bury(context.Background(), tombstone.Of("fleet-0", "", now)); err != nil {
		t.Fatal(err)
	}
	removed, err := o.Store.Erase(context.Background(), Table(), lake.Erasure{Fleet: "fleet-0", Until: now})
	if err != nil || removed.Rows != 2 {
		t.Fatalf("%+v, %v", removed, err)
	}
	if rows := stored(t, url); len(rows) != 1 || rows[0].Fleet != "fleet-1" {
		t.Fatalf("left: %+v", rows)
	}
	again := kept(t, url) // after a restart, a dead letter arrives that was in the topic before the erasure
	e := NewEnvelope(Failure{Stage: "raw", Fleet: "fleet-0", FailedAt: someTime.Add(-time.Hour),
		Rejection: event.Reject(event.CodeInvalidEvent, "", "x")})
	if err := again.WriteBatch(context.Background(), service.MessageBatch{message(0, 900, mustJSON(t, e))}); err != nil {
		t.Fatal(err)
	}
	if rows := stored(t, url); len(rows) != 1 {
		t.Fatalf("a dead letter of an erased fleet was stored: %+v", rows)
	}
	covered := false
	if err := o.Store.Coverage(context.Background(), time.Time{}, func(f lake.Footer) error {
		for _, s := range f.Coverage.Erased[lake.Partition{Topic: "raw-events"}] {
			covered = covered || s.First <= 900 && 900 <= s.Last
		}
		return nil
	}); err != nil || !covered {
		t.Fatalf("no coverage has the record as erased, so reconcile would miss it: %v", err)
	}
}

// Rows returns the number of dead letters from the footers of objects, also after compaction and
// retention. Footers of known objects are not read again.
func TestDeadLetter_TheirNumberIsCountedFromFooters(t *testing.T) {
	url := lake.FileURL(t.TempDir())
	kept(t, url, someTime, someTime.Add(time.Minute), someTime.AddDate(0, 0, -40))
	at := lifecycle.NewPlaces(service.MockResources(), map[lifecycle.Place]string{lifecycle.DeadLetters: url})
	defer at.Close()
	opened, err := Lifecycle().Open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	store, tells := opened.(interface {
		Rows(context.Context, map[string]int64) (int64, bool, error)
	})
	if !tells {
		t.Fatalf("a %T has no method Rows", opened)
	}
	known := map[string]int64{}
	number := func(want int64, objects int) {
		t.Helper()
		if n, told, err := store.Rows(t.Context(), known); n != want || !told || err != nil || len(known) != objects {
			t.Errorf("%d rows in %d objects (%t, %v), want %d in %d", n, len(known), told, err, want, objects)
		}
	}
	number(3, 3)
	for key := range known {
		known[key] += 10 // if the footer was read again, it would be 1 again
	}
	number(33, 3)
	clear(known)
	maintained(t, url, expire.Pass{Now: someTime.Add(48 * time.Hour)})
	n, _, err := store.Rows(t.Context(), known)
	if err != nil || n != 2 {
		t.Errorf("%d rows after maintenance, want 2: %v", n, err)
	}
}

// The freshness of a dead letter is counted from when its event was received, if the gate rejected
// the event. It is counted from the failure if the event was in the log before, where it may have
// waited for hours.
func TestDeadLetter_FreshnessCountsFromTheRightTime(t *testing.T) {
	received, failed := someTime.UnixMicro(), someTime.Add(time.Hour).UnixMicro()
	for _, is := range []struct {
		row  Row
		want int64
	}{
		{Row{ReceivedAt: received, FailedAt: failed}, received}, {Row{FailedAt: failed}, failed},
		{Row{ReceivedAt: received, FailedAt: failed, Origin: &event.Coordinates{}}, failed},
	} {
		if got := is.row.failed(); got != is.want {
			t.Errorf("the freshness of %+v is counted from %d, want %d", is.row, got, is.want)
		}
	}
}
