package identity

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
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
		s.know.put(fact{1, uint64(i)}, 0)
	}
	if n := len(s.know.recent) + len(s.know.older); n > 2*factsMost {
		t.Errorf("%d facts are kept", n)
	}
}

// rowsOf is all that a store keeps of who is who.
func rowsOf(t *testing.T, s *Store) (all []string) {
	t.Helper()
	for _, query := range []string{
		`SELECT fleet || ' ' || subject || ' ' || device_id || ' ' || recorded_at FROM identity_device`,
		`SELECT fleet || ' ' || anonymous_id || ' ' || user_id || ' ' || at || ' ' || version || ' ' || recorded_at
			FROM identity_claim`} {
		rows, err := sqldb.All(t.Context(), s.db, sqldb.Value[string], query)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(rows)
		all = append(all, rows...)
	}
	return all
}

// Whatever is told, in any order, while people are erased and after: a store that
// remembers keeps what one keeps that asks each time.
func TestIdentity_WhatIsKnownChangesNothing(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 5))
		now := base()
		clock := func() time.Time { return now }
		remembers, asks := opened(t), opened(t)
		remembers.now = clock
		var under *tombstone.Target
		for step := range 60 {
			now = now.Add(time.Duration(r.IntN(20)) * time.Minute)
			switch on := [...]*Store{remembers, asks}; {
			case under != nil && r.IntN(3) == 0:
				for _, s := range on {
					if err := erase(t.Context(), s.db, *under); err != nil {
						t.Fatal(err)
					}
				}
				under = nil
				continue
			case under == nil && r.IntN(8) == 0:
				who := [...]string{"u1", "a2", "d3"}[r.IntN(3)]
				under = &tombstone.Target{Job: fmt.Sprint(step), Fleet: "shop", Device: who, Until: now.UnixMicro()}
				for _, s := range on {
					if err := tombstone.Bury(t.Context(), s.db, tombstone.Of("shop", who, now)); err != nil {
						t.Fatal(err)
					}
				}
				continue
			}
			events := history(r, 1+r.IntN(6))
			for i := range events {
				events[i].At = base().Add(time.Duration(r.IntN(9)) * time.Minute)
				events[i].Received = now.Add(time.Duration(r.IntN(3)-1) * time.Hour)
			}
			got, err := remembers.Note(t.Context(), "shop", "test", events)
			if err != nil {
				t.Fatal(err)
			}
			*asks = Store{db: asks.db, now: clock}
			want, err := asks.Note(t.Context(), "shop", "test", events)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("seed %d, step %d: %+v, and by asking each time %+v (%v)", seed, step, got, want, err)
			}
			if got, want := rowsOf(t, remembers), rowsOf(t, asks); !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d: it keeps %q, and by asking each time %q", seed, step, got, want)
			}
		}
	}
}

// PostgreSQL keeps the same, of more pairs than one statement has.
func TestIdentity_PostgresKeepsWhatSQLiteDoes(t *testing.T) {
	db, err := sqldb.Open(t.Context(), require.Env(t, "WEIR_TEST_POSTGRES_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	fleet := fmt.Sprint("identity-", time.Now().UnixNano())
	defer func() {
		_ = erase(context.Background(), db, tombstone.Target{Job: fleet, Fleet: fleet, Until: 1 << 60})
	}()
	lite := opened(t)
	for n := 0; n < 900; n += 450 { // half of what comes then is known to the store
		for _, store := range []*Store{s, lite} {
			*store = Store{db: store.db, now: time.Now}
			noted, err := store.Note(t.Context(), fleet, "test", visits(n/2, 450, 10_000))
			if want := 450 - n/2; err != nil || noted.Devices != want {
				t.Fatalf("%+v, expected %d devices (%v)", noted, want, err)
			}
		}
	}
	for _, store := range []*Store{s, lite} {
		kept, err := count(t.Context(), store.db, fleet, "")
		if err != nil || kept[countDevices] != 675 {
			t.Errorf("%v are kept, expected 675 (%v)", kept, err)
		}
	}
}
