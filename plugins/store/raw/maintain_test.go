package raw

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
)

// eager compacts whatever it can.
func eager() lake.Compaction {
	c := lake.DefaultCompaction()
	c.MinGain, c.MaxInputs = 1, 7
	return c
}

func all(*Row) bool { return true }

// explained is what is stored or was erased.
func explained(c lake.Coverage) map[lake.Partition][]lake.Span {
	total := lake.Coverage{Stored: c.Stored}
	total.Merge(lake.Coverage{Stored: c.Erased})
	return total.Stored
}

func TestRaw_CompactionChangesNoAnswerAndNoProof(t *testing.T) {
	ctx := context.Background()
	random := rand.New(rand.NewPCG(11, 1))
	o, rows := historyOver(t, random, "row_group_rows: 50", 5*time.Hour)
	before, _, objects := ledger(t, o.Store)
	now := noon.AddDate(0, 0, 9)
	total := lake.Rewritten{Inputs: 1}
	for round := 0; total.Inputs > 0; round++ {
		var err error
		if total, err = o.Store.Compact(ctx, Table(), eager(), now); err != nil {
			t.Fatal(err)
		}
		if got, _ := collect(t, o, Query{}); !slices.Equal(got, positions(rows, all)) {
			t.Fatalf("round %d: got %d events, want %d", round, len(got), len(rows))
		}
		if round > 20 {
			t.Fatalf("compaction does not end: %+v", total)
		}
	}
	after, stored, left := ledger(t, o.Store)
	if !reflect.DeepEqual(before, after) {
		t.Fatalf("coverage was\n%+v\nand is\n%+v", before, after)
	}
	if left*2 > objects {
		t.Fatalf("%d objects of %d are left", left, objects)
	}
	if stored > int64(len(rows))+100 {
		t.Fatalf("%d rows for %d events", stored, len(rows))
	}
	d := rows[3].Device
	got, _ := collect(t, o, Query{Devices: []string{d}})
	if !slices.Equal(got, positions(rows, func(r *Row) bool { return r.Device == d })) {
		t.Fatal("a device's events changed")
	}
}

func TestRaw_ACrashedCompactionIsRepairedByTheNext(t *testing.T) {
	ctx := context.Background()
	o, rows := historyOver(t, rand.New(rand.NewPCG(11, 2)), "", 5*time.Hour)
	kept := map[string][]byte{}
	objects, err := o.Store.Objects(ctx, lake.Select{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range objects {
		r, err := o.Store.Open(ctx, b.Blob)
		if err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, b.Size)
		if n, err := r.ReadAt(raw, 0); int64(n) != b.Size {
			t.Fatal(err)
		}
		_ = r.Close()
		kept[b.Key] = raw
	}
	now, wide := noon.AddDate(0, 0, 9), eager()
	wide.MaxInputs = 100
	if _, err := o.Store.Compact(ctx, Table(), wide, now); err != nil {
		t.Fatal(err)
	}
	for key, raw := range kept { // as if it had died before it deleted anything
		if err := o.Store.PutBytes(ctx, key, raw); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := collect(t, o, Query{}); !slices.Equal(got, positions(rows, all)) {
		t.Fatalf("got %d events, want %d", len(got), len(rows))
	}
	for range 3 {
		if _, err := o.Store.Compact(ctx, Table(), wide, now); err != nil {
			t.Fatal(err)
		}
	}
	if got, stats := collect(t, o, Query{}); !slices.Equal(got, positions(rows, all)) ||
		stats.Repeats*10 > int64(len(rows)) {
		t.Fatalf("got %d events, want %d; %+v", len(got), len(rows), stats)
	}
}

func TestRaw_AScanGoesOnWhenCompactionTakesItsObjectsAway(t *testing.T) {
	ctx := context.Background()
	o, rows := historyOver(t, rand.New(rand.NewPCG(11, 3)), "", 5*time.Hour)
	var got []Position
	_, err := NewReader(o.Store).Scan(ctx, Query{Parallel: 1}, func(r *Row) error {
		if got = append(got, PositionOf(r)); len(got) == 300 {
			if _, err := o.Store.Compact(ctx, Table(), eager(), noon.AddDate(0, 0, 9)); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err != nil || !slices.Equal(got, positions(rows, all)) {
		t.Fatalf("got %d events, want %d: %v", len(got), len(rows), err)
	}
}

func TestRaw_RetentionDeletesPastDaysButNotWhatIsHeld(t *testing.T) {
	ctx := context.Background()
	o, rows := history(t, rand.New(rand.NewPCG(11, 4)), "")
	now := noon.AddDate(0, 0, 7) // the rows are of Nov 20 to 23, written on the 25th
	age, held := 5*24*time.Hour, []string{"other"}
	p := expire.Pass{Now: now, DryRun: true, Held: func(context.Context) ([]string, error) { return held, nil }}
	cut := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixMicro()
	plan, err := o.Store.Retain(ctx, Table(), p, age)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := collect(t, o, Query{}); len(got) != len(rows) {
		t.Fatal("a dry run deleted something")
	}
	p.DryRun = false
	done, err := o.Store.Retain(ctx, Table(), p, age)
	if err != nil || !reflect.DeepEqual(done, plan) || done.Rows == 0 || done.Kept == 0 {
		t.Fatalf("planned %+v, did %+v: %v", plan, done, err)
	}
	want := positions(rows, func(r *Row) bool { return r.At >= cut || r.Fleet == "other" })
	if got, _ := collect(t, o, Query{}); !slices.Equal(got, want) {
		t.Fatalf("got %d events, want %d of %d", len(got), len(want), len(rows))
	}
	held = nil
	if _, err := o.Store.Retain(ctx, Table(), p, age); err != nil {
		t.Fatal(err)
	}
	folders, err := o.Store.Folders(ctx, "")
	folders = slices.DeleteFunc(folders, func(f string) bool { return f == lake.DuplicatesFolder })
	if err != nil || len(folders) == 0 || folders[0] != "date=2026-11-22" {
		t.Fatalf("left: %v, %v", folders, err)
	}
}

// erase does what an erasure does to one store.
func erase(s *lake.Store, fleet, device string, until time.Time) (lake.Removed, error) {
	if err := s.Bury(context.Background(), tombstone.Of(fleet, device, until)); err != nil {
		return lake.Removed{}, err
	}
	return s.Erase(context.Background(), Table(), lake.Erasure{Fleet: fleet, Device: device, Until: until})
}

func TestRaw_ErasureLeavesNoRowOfTheDeviceAndNothingUnexplained(t *testing.T) {
	ctx := context.Background()
	o, rows := history(t, rand.New(rand.NewPCG(11, 5)), "row_group_rows: 30")
	before, _, _ := ledger(t, o.Store)
	gone := func(r *Row) bool { return r.Fleet == "acme" && r.Device == "d07" }
	for range 2 {
		if _, err := erase(o.Store, "acme", "d07", noon.AddDate(1, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := collect(t, o, Query{}); !slices.Equal(got, positions(rows, func(r *Row) bool { return !gone(r) })) {
		t.Fatalf("got %d events", len(got))
	}
	after, _, _ := ledger(t, o.Store)
	if after.Erased == nil || !reflect.DeepEqual(before.Stored, explained(after)) || !reflect.DeepEqual(before.Duplicates,
		after.Duplicates) {
		t.Fatal("the proof of what was stored is gone")
	}
	removed, err := erase(o.Store, "acme", "", noon.AddDate(1, 0, 0))
	if err != nil || removed.Rows == 0 {
		t.Fatalf("%+v, %v", removed, err)
	}
	if got, _ := collect(t, o, Query{Fleet: "acme"}); len(got) != 0 {
		t.Fatalf("%d events of the fleet are left", len(got))
	}
	if _, err := o.Store.Erase(ctx, Table(), lake.Erasure{Until: noon.AddDate(1, 0, 0)}); err == nil {
		t.Fatal("an erasure of nobody was accepted")
	}
}

func TestRaw_WhatIsOnItsWayDoesNotBringAnErasedDeviceBack(t *testing.T) {
	ctx := context.Background()
	o := connected(t, lake.FileURL(t.TempDir()), "recall: 1h")
	old := time.Now().Add(-10 * time.Hour)
	batch := func() service.MessageBatch {
		return service.MessageBatch{record(0, 1, body("gone", 1, old), old), record(0, 2, body("stays", 2, old), old)}
	}
	if err := o.WriteBatch(ctx, batch()); err != nil {
		t.Fatal(err)
	}
	if removed, err := erase(o.Store, "acme", "gone", time.Now()); err != nil || removed.Rows != 1 {
		t.Fatalf("%+v, %v", removed, err)
	}
	replay := record(0, 7, body("gone", 1, old), old) // of a reader that had begun before
	replay.MetaSetMut("kafka_topic", "replay-events")
	replay.MetaSetMut(event.HeaderDelivery, "raw-events/0/9")
	late := record(0, 3, body("gone", 3, old), old) // still in the log
	anew := record(0, 4, body("gone", 4, old), time.Now().Add(time.Second))
	later := time.Now().Add(lake.EraseSettle)
	o.now = func() time.Time { return later }
	if err := o.WriteBatch(ctx, append(batch(), replay, late, anew)); err != nil {
		t.Fatal(err)
	}
	got, _ := collect(t, o, Query{Devices: []string{"gone"}})
	if len(got) != 1 || got[0].Delivery.Offset != 4 {
		t.Fatalf("got %+v", got)
	}
	total, _, _ := ledger(t, o.Store)
	if spans := explained(total)[lake.Partition{Topic: "raw-events"}]; fmt.Sprint(spans) != "[{1 4} {9 9}]" {
		t.Fatalf("the proof could not explain what was erased: %v", spans)
	}
	restarted := connected(t, o.URL, "")
	if err := restarted.WriteBatch(ctx, service.MessageBatch{record(0, 5, body("gone", 5, old), old)}); err != nil {
		t.Fatal(err)
	}
	if got, _ := collect(t, o, Query{Devices: []string{"gone"}}); len(got) != 1 {
		t.Fatalf("a restart forgot the erasure: %+v", got)
	}
}

func TestRaw_AFailedRewriteLeavesTheInputs(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	o, rows := historyOver(t, rand.New(rand.NewPCG(11, 6)), "", 5*time.Hour)
	table := Table()
	n := 0
	table.Covers = func(lake.Ref, *lake.Collector) {
		if n++; n == 200 {
			cancel()
		}
	}
	if _, err := o.Store.Compact(ctx, table, eager(), noon.AddDate(0, 0, 9)); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if got, _ := collect(t, o, Query{}); !slices.Equal(got, positions(rows, all)) {
		t.Fatalf("got %d events, want %d", len(got), len(rows))
	}
}

func TestRaw_FootersAreReadOfWhatCompactionLeftInstead(t *testing.T) {
	ctx := context.Background()
	o, _ := historyOver(t, rand.New(rand.NewPCG(11, 7)), "", 2*time.Hour)
	want, _, _ := ledger(t, o.Store)
	objects, err := o.Store.Objects(ctx, lake.Select{})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := o.Store.Compact(ctx, Table(), eager(), noon.AddDate(0, 0, 9)); err != nil || done.Inputs == 0 {
		t.Fatal(done, err)
	}
	var got lake.Coverage
	if err := o.Store.Footers(ctx, objects, func(f lake.Footer) error { got.Merge(f.Coverage); return nil }); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("the listing said\n%+v\nits footers say\n%+v", want, got)
	}
}
