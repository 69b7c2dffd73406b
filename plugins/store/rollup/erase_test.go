package rollup

import (
	"context"
	"fmt"
	"testing"
	"time"

	"weir/internal/event"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// arrived returns the window of an event of a device, as the processor makes it.
func arrived(device string, id uint64, at, received time.Time) *Window {
	return &Window{Key: Key{"acme", device, minuteOf(at)}, events: []sample{{id: id, at: at.UnixMicro(),
		received: received.UTC().Format(event.TimeFormat), readings: []reading{{"cpu_temp", 1}}}}}
}

func counts(t *testing.T, s *Store, res resolution) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	if err := s.view(context.Background(), all, func(tx tx) error {
		return tx.scan(context.Background(), res, span{Fleet: "acme", From: 0, To: 1 << 33}, func(r *windowRow) error {
			out[r.Device] += r.Metrics[0].Count
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// Events of a device that are only in the journal are erased as well.
func TestRollup_WhatIsNotWrittenIsErased(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		eraseUnwritten(t, fresh(), false)
		eraseUnwritten(t, fresh(), true)
	})
}

func eraseUnwritten(t *testing.T, url string, elsewhere bool) {
	writer := openLazy(t, url)
	eraser := onHandle(t, handleOf(writer))
	if elsewhere {
		eraser = openLazy(t, url)
	}
	ctx, db, until := t.Context(), handleOf(eraser), noon.Add(30*time.Second)
	add(t, writer, noon, []*Window{arrived("gone", 1, noon, noon), arrived("stays", 2, noon, noon)})
	if err := tombstone.Bury(ctx, db, tombstone.Of("acme", "gone", until)); err != nil {
		t.Fatal(err)
	}
	later := arrived("gone", 3, noon.Add(time.Minute), until.Add(time.Second))
	add(t, writer, noon, []*Window{later}) // between the tombstone and the deletion
	if err := eraser.erase(ctx, db, tombstone.Target{Job: "j", Fleet: "acme", Device: "gone", Until: until.UnixMicro()},
		func() error {
			return nil
		}); err != nil {
		t.Fatal(err)
	}
	// After the erasure, later events are counted again.
	if r := add(t, writer, noon, []*Window{arrived("gone", 1, noon, noon), later}); r.Events[outcomeErased] != 1 ||
		r.Events[outcomeCounted] != 1 {
		t.Errorf("%+v", r)
	}
	if got := fmt.Sprint(counts(t, eraser, byMinute)); got != "map[gone:1 stays:1]" {
		t.Errorf("elsewhere %t: %s", elsewhere, got)
	}
	writeOut(t, writer)
	if got := fmt.Sprint(counts(t, openLazy(t, url), byMinute)); got != "map[gone:1 stays:1]" {
		t.Errorf("elsewhere %t, afterwards: %s", elsewhere, got)
	}
}

// A writer has windows of a device in memory when it is erased. Neither these, nor a redelivery,
// nor a rebuild brings them back. Later events count, also in a window that had counted both.
func TestRollup_ErasedWindowsStayAwayAndWhatCameLaterCounts(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx, url := context.Background(), fresh()
		db, err := sqldb.Open(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		writer, err := Open(ctx, db, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		eraser := openStore(t, url) // another process
		until := noon.Add(30 * time.Second)
		before := []*Window{arrived("gone", 1, noon, noon), arrived("stays", 2, noon, noon),
			arrived("gone", 3, noon.Add(-2*time.Hour), noon)}
		after := arrived("gone", 4, noon.Add(20*time.Second), until.Add(time.Microsecond)) // the same minute
		add := func(windows ...*Window) Result {
			t.Helper()
			r, err := writer.Add(ctx, windows, noon)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		add(append(before, after)...)
		writeOut(t, writer)
		if _, err := writer.roll(ctx, rollPolicy{}, noon.Add(48*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n, err := count(ctx, db, "acme", "gone"); err != nil ||
			fmt.Sprint(n) != "map[rollup_windows_1d:1 rollup_windows_1h:2 rollup_windows_1m:2]" {
			t.Fatal(n, err)
		}
		if err := tombstone.Bury(ctx, db, tombstone.Of("acme", "gone", until)); err != nil {
			t.Fatal(err)
		}
		target := tombstone.Target{Job: "j", Fleet: "acme", Device: "gone", Until: until.UnixMicro()}
		for range 2 { // again, as after a crash
			if err := eraser.erase(ctx, db, target, func() error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		for _, res := range []resolution{byMinute, byHour, byDay} {
			if got := fmt.Sprint(counts(t, eraser, res)); got != "map[stays:1]" {
				t.Fatalf("%s: %s", res.Name, got)
			}
		}
		deleted := map[string]int64{}
		if err := tombstone.Counts(ctx, db, "j", deleted); err != nil ||
			fmt.Sprint(deleted) != "map[rollup_windows_1d:1 rollup_windows_1h:2 rollup_windows_1m:2]" {
			t.Fatal(deleted, err)
		}
		r := add(append(before, after, arrived("gone", 5, noon.Add(25*time.Second), until.Add(time.Second)))...)
		if r.Events[outcomeErased] != 2 || r.Events[outcomeCounted] != 2 {
			t.Fatalf("%+v", r)
		}
		if got := fmt.Sprint(counts(t, eraser, byMinute)); got != "map[gone:2 stays:1]" {
			t.Fatal(got)
		}
		done, err := eraser.Replace(ctx, []*Window{before[0], before[2]}, noon) // a rebuild had read them before
		if err != nil || done.Windows != 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		if got := fmt.Sprint(counts(t, eraser, byMinute)); got != "map[gone:2 stays:1]" {
			t.Fatal(got)
		}
		writeOut(t, writer)
		if _, err := writer.roll(ctx, rollPolicy{}, noon.Add(48*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(counts(t, eraser, byDay)); got != "map[gone:2 stays:1]" {
			t.Fatal(got)
		}
		// The whole fleet.
		if err := tombstone.Bury(ctx, db, tombstone.Of("acme", "", noon.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		target.Job, target.Device = "k", ""
		if err := eraser.erase(ctx, db, target, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if r := add(before...); r.Events[outcomeErased] != 3 {
			t.Fatalf("%+v", r)
		}
		if got := counts(t, eraser, byMinute); len(got) != 0 {
			t.Fatal(got)
		}
	})
}
