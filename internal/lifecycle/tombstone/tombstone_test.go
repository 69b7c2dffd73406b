package tombstone

import (
	"testing"
	"time"

	"weir/tests/integration/testbed"
)

func TestTombstone_TombstonesHoldWhatCameBeforeAndNothingElse(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	s := NewSet([]Stone{Of("acme", "pump-1", at), Of("acme", "pump-1", at.Add(-time.Hour)), Of("gone", "", at),
		Of("gone", "x", at.Add(time.Hour))})
	for _, c := range []struct {
		fleet, device string
		received      time.Time
		want          bool
	}{
		{"acme", "pump-1", at, true}, {"acme", "pump-1", at.Add(time.Microsecond), false}, {"acme", "pump-1", time.Time{},
			true},
		{"acme", "pump-2", at, false}, {"other", "pump-1", at, false}, {"acme", "", at, false},
		{"gone", "pump-1", at, true}, {"gone", "", at, true}, {"gone", "y", at.Add(time.Minute), false},
		{"gone", "x", at.Add(time.Minute), true},
	} {
		received := int64(0)
		if !c.received.IsZero() {
			received = c.received.UnixMicro()
		}
		if got := s.Holds(c.fleet, c.device, received); got != c.want {
			t.Errorf("%s/%s at %s: %t", c.fleet, c.device, c.received, got)
		}
	}
	names := NewSet([]Stone{OfName("acme", "pump-1", at), Of("acme", "ann", at)})
	if !names.HoldsName("acme", "pump-1", at.UnixMicro()) || names.HoldsName("acme", "pump-1", at.UnixMicro()+1) ||
		names.Holds("acme", "pump-1", at.UnixMicro()) || names.HoldsName("acme", "ann", at.UnixMicro()) {
		t.Error("a device and a person of one name are taken for each other")
	}
	for _, target := range []Target{{Fleet: "acme", Device: "ann", Name: true, Until: at.UnixMicro()},
		{Fleet: "acme", Device: "ann", Until: at.UnixMicro()}, {Fleet: "acme", Until: at.UnixMicro()}} {
		held := NewSet([]Stone{target.Stone()})
		if held.HoldsName("acme", "ann", at.UnixMicro()) != (target.Name || target.Device == "") ||
			held.Holds("acme", "ann", at.UnixMicro()) == target.Name {
			t.Errorf("the tombstone of %+v", target)
		}
	}
	if empty := NewSet(nil); empty != nil || empty.Holds("acme", "pump-1", 0) || empty.Touches("acme", 0) {
		t.Error("no stones hold something")
	}
}

func TestTombstone_ABurialIsKnownAndOnlyGrows(t *testing.T) {
	ctx, at := t.Context(), time.Now().Truncate(time.Microsecond)
	db := testbed.SQLite(t)
	if err := Migrate(ctx, db); err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for _, c := range []struct {
		stone Stone
		grows bool
	}{{Of("f", "a", at), true}, {Of("f", "b", at.Add(-time.Hour)), true}, {Of("f", "a", at), false},
		{Of("f", "a", at.Add(-1e9)), false}, {Of("f", "b", at), true}} {
		if err := Bury(ctx, db, c.stone); err != nil {
			t.Fatal(err)
		}
		seq := int64(0)
		if err := db.QueryRow(SeqQuery).Scan(&seq); err != nil || seq > last != c.grows {
			t.Fatalf("%+v: %d after %d, %v", c.stone, seq, last, err)
		}
		last = seq
	}
	set, err := Load(ctx, db)
	if err != nil || !set.Holds("f", "a", at.UnixMicro()) || !set.Holds("f", "b", at.UnixMicro()) ||
		set.Holds("f", "c", 0) {
		t.Fatal(err)
	}
}

func TestTombstone_OnlyTheNameItselfIsTakenOut(t *testing.T) {
	for text, want := range map[string]string{
		"of pump-1, and pump-10": "of X, and pump-10", "pump-1": "X", "it was pump-1.": "it was X.",
		`{"d":"pump-1"}`: `{"d":"X"}`,
		"a.pump-1":       "a.pump-1", "none": "none", "": "",
	} {
		if got := Without(text, "pump-1", "X"); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func BenchmarkHolds(b *testing.B) {
	now := time.Now()
	for name, s := range map[string]*Set{"none": nil, "other times": NewSet([]Stone{Of("f", "a", now.Add(-time.Hour))}),
		"hashed": NewSet([]Stone{Of("f", "a", now.Add(time.Hour))})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if s.Holds("f", "pump-1", now.UnixMicro()) {
					b.Fatal("held")
				}
			}
		})
	}
}
