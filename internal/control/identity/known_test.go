package identity

import (
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// What is known is asked for once; of a fleet in which an erasure may be under way it
// is asked for again, and what the erasure took away is noted when it is said again.
func TestIdentity_WhatIsKnownIsNotAskedForAgain(t *testing.T) {
	s, ctx, now := opened(t), t.Context(), time.Now()
	s.now = func() time.Time { return now }
	events := []Seen{{Device: "phone", Anonymous: "a1", User: "ann", At: base(), Received: base()}}
	asks := func(fleet string) int {
		t.Helper()
		if _, err := s.Note(ctx, fleet, "test", events); err != nil {
			t.Fatal(err)
		}
		gone, err := s.graves(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(s.know.news(fleet, events, gone, now))
	}
	if asks("shop") != 0 || asks("other") != 0 {
		t.Error("what was noted is not known")
	}
	earlier := events[0]
	earlier.At = base().Add(-time.Minute)
	noted, err := s.Note(ctx, "shop", "test", []Seen{earlier})
	if err != nil || noted.Claims != 1 {
		t.Errorf("an earlier claim is %+v %v", noted, err)
	}
	if err := tombstone.Bury(ctx, s.db, tombstone.Of("shop", "ann", base().Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	events[0].Received = base().Add(time.Hour)
	if asks("shop") != 1 || asks("other") != 0 {
		t.Error("during an erasure, its fleet's events are not asked for, or others' are")
	}
	if err := erase(ctx, s.db, tombstone.Target{Job: "j", Fleet: "shop", Device: "ann",
		Until: base().Add(time.Minute).UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	if noted, err := s.Note(ctx, "shop", "test", events); err != nil || noted.Claims != 1 || noted.Devices != 1 {
		t.Errorf("what was erased and is said again: %+v %v", noted, err)
	}
	now = now.Add(settled)
	if asks("shop") != 0 {
		t.Error("after the erasure, nothing is known")
	}
	for i := range 2*factsMost + 10 {
		s.know.put(fact{a: "x", b: string(rune(i))}, 0)
	}
	if n := len(s.know.recent) + len(s.know.older); n > 2*factsMost {
		t.Errorf("%d facts are kept", n)
	}
}
