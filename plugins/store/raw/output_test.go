package raw

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/plugins/store/lake"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// ledger reads what all objects of a store say.
func ledger(t testing.TB, s *lake.Store) (total lake.Coverage, rows int64, objects int) {
	t.Helper()
	err := s.Coverage(context.Background(), time.Time{}, func(f lake.Footer) error {
		claims := int64(0)
		for _, spans := range f.Coverage.Stored {
			claims += lake.NewOffsets(spans...).Count()
		}
		if claims != f.Rows {
			t.Fatalf("%s claims %d records and has %d rows", f.Key, claims, f.Rows)
		}
		total.Merge(f.Coverage)
		rows += f.Rows
		objects++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total, rows, objects
}

func batchOf(n int, received time.Time) service.MessageBatch {
	var batch service.MessageBatch
	for i := range n {
		at := received.Add(-time.Duration(i) * time.Second)
		batch = append(batch, record(i%2, int64(100+i/2), body(fmt.Sprintf("d%d", i%3), i, at), received))
	}
	return batch
}

func TestRaw_RedeliveryAfterARestartIsStoredOnce(t *testing.T) {
	url := lake.FileURL(t.TempDir())
	received := time.Now().Add(-time.Second)
	batch := batchOf(10, received)
	if err := connected(t, url, "").WriteBatch(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	o := connected(t, url, "") // the offsets were never committed: all of it comes again, and more
	again := append(batchOf(10, received), record(0, 105, body("d9", 99, received), received))
	if err := o.WriteBatch(context.Background(), again); err != nil {
		t.Fatal(err)
	}
	_, rows, _ := ledger(t, o.Store)
	if rows != 11 {
		t.Fatalf("got %d rows, want 11", rows)
	}
}

func TestRaw_ATopicMadeAnewIsNotTakenForARedelivery(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	if err := o.WriteBatch(context.Background(), batchOf(10, time.Now().Add(-time.Second))); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Second)
	if err := o.WriteBatch(context.Background(), batchOf(10, later)); err != nil {
		t.Fatal(err)
	}
	if _, rows, _ := ledger(t, o.Store); rows != 20 {
		t.Fatalf("got %d rows, want 20: events at reused offsets were lost", rows)
	}
}

func TestRaw_DuplicatesAreRecordedAndNotStored(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	received := time.Now()
	first := record(3, 7, body("d", 1, received), received)
	repeat := record(3, 9, body("d", 1, received), received)
	repeat.MetaSetMut(event.MetaDuplicateOf, "raw-events/3/7")
	for _, batch := range []service.MessageBatch{{first}, {repeat}, {repeat.Copy()}} {
		if err := o.WriteBatch(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	total, rows, objects := ledger(t, o.Store)
	p := lake.Partition{Topic: "raw-events", Partition: 3}
	if rows != 1 || objects != 2 || len(total.Duplicates[p]) != 1 {
		t.Fatalf("rows %d, objects %d, coverage %+v", rows, objects, total)
	}
	want := lake.Duplicate{Offset: 9, Of: event.Coordinates{Topic: "raw-events", Partition: 3, Offset: 7}}
	if got := total.Duplicates[p][0]; got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestRaw_EventsOfSeveralDatesEachDescribeThemselves(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "max_object_rows: 2")
	var batch service.MessageBatch
	for i := range 9 {
		at := noon.AddDate(0, 0, -(i % 3))
		batch = append(batch, record(0, int64(i), body("d", i, at), time.Now()))
	}
	if err := o.WriteBatch(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	total, rows, objects := ledger(t, o.Store)
	if rows != 9 || objects != 6 {
		t.Fatalf("got %d rows in %d objects, want 9 in 6", rows, objects)
	}
	spans := total.Stored[lake.Partition{Topic: "raw-events"}]
	if len(spans) != 1 || spans[0] != (lake.Span{First: 0, Last: 8}) {
		t.Fatalf("coverage %+v", spans)
	}
	some, err := o.Store.Objects(context.Background(), lake.Select{From: noon.AddDate(0, 0, -1), To: noon})
	if err != nil {
		t.Fatal(err)
	}
	if len(some) != 2 {
		t.Fatalf("got %d objects of the day before noon, want 2", len(some))
	}
}

func TestRaw_APoisonMessageDoesNotHoldUpItsNeighbours(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	batch := batchOf(4, time.Now())
	batch[2].SetBytes([]byte("{not json"))
	err := o.WriteBatch(context.Background(), batch)
	var failed *service.BatchError
	if !errors.As(err, &failed) || failed.IndexedErrors() != 1 {
		t.Fatalf("got %v", err)
	}
	if _, rows, _ := ledger(t, o.Store); rows != 3 {
		t.Fatalf("got %d rows, want 3", rows)
	}
}

func TestRaw_AReplayStoresOnlyWhatTheStoreDoesNotHold(t *testing.T) {
	ctx := context.Background()
	o := connected(t, lake.FileURL(t.TempDir()), "recall: 1h")
	old := time.Now().Add(-48 * time.Hour)
	o.now = func() time.Time { return old.Add(time.Second) }
	if err := o.WriteBatch(ctx, service.MessageBatch{record(1, 5, body("d", 1, old), old)}); err != nil {
		t.Fatal(err)
	}
	o.now = time.Now
	o.Memory = lake.NewMemory(o.Store, time.Hour) // has forgotten

	replayed := func(offset int, delivery, target string) *service.Message {
		msg := record(0, int64(offset), body("d", offset, old), old)
		msg.MetaSetMut("kafka_topic", "replay-events")
		msg.MetaSetMut(event.HeaderDelivery, delivery)
		if target != "" {
			msg.MetaSetMut(event.HeaderTarget, target)
		}
		return msg
	}
	err := o.WriteBatch(ctx, service.MessageBatch{
		replayed(1, "raw-events/1/5", ""),         // stored long ago
		replayed(2, "raw-events/1/6", ""),         // a redrive: new
		replayed(3, "raw-events/1/7", "rollup"),   // for others
		replayed(4, "raw-events/1/8", "raw,else"), // new
	})
	if err != nil {
		t.Fatal(err)
	}
	total, rows, _ := ledger(t, o.Store)
	if rows != 3 {
		t.Fatalf("got %d rows, want 3", rows)
	}
	spans := total.Stored[lake.Partition{Topic: "raw-events", Partition: 1}]
	if fmt.Sprint(spans) != "[{5 6} {8 8}]" {
		t.Fatalf("coverage %v", spans)
	}
}

// The memory of a large batch is given back when no other comes.
func TestOutput_LetsGoOfMemoryWhenNoBatchComes(t *testing.T) {
	o := connected(t, lake.FileURL(t.TempDir()), "")
	if err := o.WriteBatch(t.Context(), benchBatch(10)); err != nil || o.spare.Load() == nil {
		t.Fatal("nothing is kept for the next batch", err)
	}
	o.forget.Reset(0)
	for deadline := time.Now().Add(time.Minute); o.spare.Load() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is kept for good")
		}
	}
}
