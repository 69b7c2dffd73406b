package raw

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/plugins/store/lake"
)

func TestRaw_MaintenanceReportsWhatItDid(t *testing.T) {
	o, rows := historyOver(t, rand.New(rand.NewPCG(61, 1)), "", 2*time.Hour)
	duty := lake.Duty{Table: Table(), Keep: 90 * 24 * time.Hour, Compact: true, Lifecycle: true}
	p := expire.Pass{Now: noon.AddDate(0, 0, 100), DryRun: true, Held: func(context.Context) ([]string, error) {
		return []string{"other"}, nil
	}}
	plan, err := duty.Do(t.Context(), o.Store, p)
	if err != nil || plan.Retention.Rows == 0 || plan.Merged > 0 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if got, _ := collect(t, o, Query{}); len(got) != len(rows) {
		t.Fatal("a dry run deleted something")
	}
	p.DryRun = false
	done, err := duty.Do(t.Context(), o.Store, p)
	if err != nil || done.Merged == 0 || done.Retention.Rows == 0 || done.Lifecycle != lake.LifecycleNone {
		t.Fatalf("%+v, %v", done, err)
	}
	got, _ := collect(t, o, Query{})
	if want := positions(rows, func(r *Row) bool { return r.Fleet == "other" }); len(got) != len(want) {
		t.Fatalf("got %d events, want the %d of the held fleet", len(got), len(want))
	}
}

func TestRaw_WithoutKnowingTheHoldsNothingIsDeleted(t *testing.T) {
	o, rows := historyOver(t, rand.New(rand.NewPCG(61, 2)), "", time.Hour)
	asked, known := 0, 2
	p := expire.Pass{Now: noon.AddDate(0, 0, 100), Held: func(context.Context) ([]string, error) {
		if asked++; asked > known {
			return nil, errors.New("the control store is away")
		}
		return nil, nil
	}}
	before, err := o.Store.Objects(t.Context(), lake.Select{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Store.Retain(t.Context(), Table(), p, time.Hour); err == nil {
		t.Fatal("holds that could not be read passed for none")
	}
	after, err := o.Store.Objects(t.Context(), lake.Select{})
	if err != nil || len(before)-len(after) != known-1 {
		t.Fatalf("%d objects of %d are left after holds were read %d times: %v", len(after), len(before), known, err)
	}
	known = 0
	asked = 0
	duty := lake.Duty{Table: Table(), Keep: time.Hour, Lifecycle: true}
	if done, err := duty.Do(t.Context(), o.Store, p); err == nil || done.Retention.Rows != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if left, _ := collect(t, o, Query{}); len(left) == 0 || len(left) > len(rows) {
		t.Fatalf("%d events are left", len(left))
	}
}

func TestRaw_WhatAHoldKeepsIsNotReadAgainUntilItEnds(t *testing.T) {
	o, rows := historyOver(t, rand.New(rand.NewPCG(61, 3)), "", time.Hour)
	held := []string{"acme", "other"}
	p := expire.Pass{Now: noon.AddDate(0, 0, 100), Held: func(context.Context) ([]string, error) { return held, nil }}
	for run := range 3 {
		removed, err := o.Store.Retain(t.Context(), Table(), p, time.Hour)
		if err != nil || removed.Rows != 0 || removed.Kept < int64(len(rows)) {
			t.Fatalf("run %d: %+v, %v", run, removed, err)
		}
	}
	held = held[:1]
	removed, err := o.Store.Retain(t.Context(), Table(), p, time.Hour)
	if err != nil || removed.Rows == 0 || removed.Kept == 0 {
		t.Fatalf("one hold ended: %+v, %v", removed, err)
	}
	if got, want := func() int {
		got, _ := collect(t, o, Query{})
		return len(got)
	}(), len(positions(rows, func(r *Row) bool { return r.Fleet == "acme" })); got != want {
		t.Fatalf("%d events are left, want the %d of the held fleet", got, want)
	}
}
