package raw

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
)

// Events of a device that come after the erasure began are new: a second pass
// leaves them, also in an object that has both.
func TestRaw_ErasureLeavesWhatWasReceivedLater(t *testing.T) {
	ctx := context.Background()
	o := connected(t, lake.FileURL(t.TempDir()), "")
	until := time.Now().Truncate(time.Microsecond)
	before, at, after := until.Add(-time.Second), until, until.Add(time.Microsecond)
	if err := o.WriteBatch(ctx, service.MessageBatch{record(0, 1, body("gone", 1, before), before),
		record(0, 2, body("gone", 2, at), at), record(0, 3, body("gone", 3, before), after)}); err != nil {
		t.Fatal(err)
	}
	for pass, want := range []int64{2, 0} {
		if removed, err := erase(o.Store, "acme", "gone", until); err != nil || removed.Rows != want {
			t.Fatalf("pass %d: %+v, %v", pass, removed, err)
		}
		if got, _ := collect(t, o, Query{}); len(got) != 1 || got[0].Delivery.Offset != 3 {
			t.Fatalf("pass %d: %+v", pass, got)
		}
	}
}

// A batch whose rows were chosen before a burial is not written after it.
func TestRaw_ABatchThatDoesNotKnowOfATombstoneIsPreparedAnew(t *testing.T) {
	ctx := context.Background()
	o := connected(t, lake.FileURL(t.TempDir()), "")
	knew := o.Memory.Tombstones()
	now := time.Now()
	if err := o.Store.Bury(ctx, tombstone.Of("acme", "gone", now)); err != nil {
		t.Fatal(err)
	}
	o.now = func() time.Time { return now.Add(2 * time.Minute) } // the list is old
	if err := o.WriteBatch(ctx, service.MessageBatch{record(0, 1, body("gone", 1, now), now)}); err != nil {
		t.Fatal(err)
	}
	if got, _ := collect(t, o, Query{}); len(got) != 0 {
		t.Fatalf("it came back: %+v", got)
	}
	name := lake.NewName(lake.DateFolder(now), now, now, now)
	if _, err := o.Memory.Put(ctx, knew, name, Table(), 0, lake.Options{}, &lake.Coverage{}, nil); err == nil ||
		!strings.Contains(err.Error(), "erased meanwhile") {
		t.Fatalf("an object chosen by an old list was written: %v", err)
	}
}

// A compaction that has read rows before they were erased writes nothing.
func TestRaw_ACompactionThatMeetsAnErasureWritesNothing(t *testing.T) {
	ctx := context.Background()
	o := connected(t, lake.FileURL(t.TempDir()), "")
	now := time.Now()
	for i := range int64(6) {
		if err := o.WriteBatch(ctx, service.MessageBatch{record(0, 10+i, body("gone", int(i), now), now),
			record(0, 20+i, body("stays", int(i), now), now)}); err != nil {
			t.Fatal(err)
		}
	}
	table, buried := Table(), false
	covers := table.Covers
	table.Covers = func(r lake.Ref, c *lake.Collector) { // while the new object is made
		if !buried {
			buried = true
			if removed, err := erase(o.Store, "acme", "gone", now); err != nil || removed.Rows != 6 {
				t.Errorf("%+v, %v", removed, err)
			}
		}
		covers(r, c)
	}
	if _, err := o.Store.Compact(ctx, table, eager(), now.Add(time.Hour)); err == nil || !buried {
		t.Fatalf("the compaction did not notice: %v", err)
	}
	if got, _ := collect(t, o, Query{Devices: []string{"gone"}}); len(got) != 0 {
		t.Fatalf("%d events came back", len(got))
	}
	if _, err := o.Store.Compact(ctx, Table(), eager(), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, _ := collect(t, o, Query{}); len(got) != 6 {
		t.Fatalf("%d events are left, want 6", len(got))
	}
}
