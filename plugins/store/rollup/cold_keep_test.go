package rollup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/plugins/store/lake"
)

// An erasure removes a device from the objects, also from those that a crash has left. Other
// devices stay, and nothing brings the device back.
func TestCold_AnErasureReachesOldMinutes(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx := t.Context()
		_, hot, tiered, dir := twins(t, 3, fresh)
		add(t, hot, later, gather(overDays(rand.New(rand.NewPCG(1, 1)), 40)))
		add(t, tiered, later, gather(overDays(rand.New(rand.NewPCG(1, 1)), 40))) // some are rows beside their objects
		wanted, err := count(ctx, hot.db, "acme", "dev-1")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := count(ctx, tiered.db, "acme", "dev-1"); err != nil || got[countMinutes] != wanted[countMinutes] {
			t.Fatalf("%v, expected %v, %v", got, wanted, err)
		}
		orphan := lake.NewName(coldFolder+"/"+lake.DateFolder(noon), noon, noon, noon).Path()
		place, err := lake.Open(ctx, lake.FileURL(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := place.PutBytes(ctx, orphan, []byte("of a crash")); err != nil {
			t.Fatal(err)
		}
		target := tombstone.Target{Job: "j", Fleet: "acme", Device: "dev-1", Until: later.UnixMicro()}
		for _, s := range []*Store{hot, tiered} {
			if err := tombstone.Bury(ctx, s.db, tombstone.Of("acme", "dev-1", later)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := s.erase(ctx, s.db, target, func() error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := dump(t, hot)
		compareStores(t, want, dump(t, tiered))
		for key := range want {
			if strings.Contains(key, " acme dev-1 ") {
				t.Fatal(key)
			}
		}
		deleted := map[string]int64{}
		if err := tombstone.Counts(ctx, tiered.db, "j", deleted); err != nil ||
			deleted[countMinutes] != wanted[countMinutes] {
			t.Errorf("%v, expected %v, %v", deleted, wanted, err)
		}
		if objects, _ := published(t, tiered); files(t, dir) != len(objects) {
			t.Errorf("%d objects lie there, %d are published", files(t, dir), len(objects))
		}
	})
}

// A window is counted once if it is in an object and a late event in the journal will make it a
// row.
func TestCold_AnErasureCountsAWindowWithALateEventOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx := t.Context()
		events, hot, tiered, _ := twins(t, 3, fresh)
		for i := range events {
			events[i].events = slices.Clone(events[i].events)
			events[i].events[0].id ^= 1
		}
		add(t, hot, later, gather(events))
		add(t, tiered, later, gather(events))
		want, err := count(ctx, hot.db, "acme", "dev-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := tombstone.Bury(ctx, tiered.db, tombstone.Of("acme", "dev-1", later)); err != nil {
			t.Fatal(err)
		}
		target := tombstone.Target{Job: "j", Fleet: "acme", Device: "dev-1", Until: later.UnixMicro()}
		if err := tiered.erase(ctx, tiered.db, target, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		noted := map[string]int64{}
		if err := tombstone.Counts(ctx, tiered.db, "j", noted); err != nil || noted[countMinutes] != want[countMinutes] {
			t.Errorf("%v, expected %v, %v", noted, want, err)
		}
	})
}

// An erasure that stops at any step is completed by the next one, and each deletion is counted
// once.
func TestCold_AnErasureThatDiesIsEndedAndCountsOnce(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx := context.Background()
		events := overDays(rand.New(rand.NewPCG(8, 9)), 60)
		target := tombstone.Target{Job: "j", Fleet: "acme", Device: "dev-1", Until: later.UnixMicro()}
		steps := 0
		for step := 0; step <= steps; step++ {
			for _, after := range []bool{false, true} {
				s, dir := openStore(t, fresh()), t.TempDir()
				add(t, s, noon, gather(events))
				finish(t, s)
				seal(t, s, later)
				moveOld(t, s, dir)
				add(t, s, later, gather(overDays(rand.New(rand.NewPCG(8, 10)), 20)))
				finish(t, s)
				want, err := count(ctx, s.db, "acme", "dev-1")
				if err != nil {
					t.Fatal(err)
				}
				if err := tombstone.Bury(ctx, s.db, tombstone.Of("acme", "dev-1", later)); err != nil {
					t.Fatal(err)
				}
				real := s.backend
				c := &stopping{backend: real, at: step, after: after}
				s.backend = c
				err = s.erase(ctx, s.db, target, func() error { return nil })
				s.backend = real
				if steps = max(steps, c.n); c.n > step && !errors.Is(err, errCrash) {
					t.Fatalf("step %d: %v", step, err)
				}
				if err := s.erase(ctx, s.db, target, func() error { return nil }); err != nil {
					t.Fatal(err)
				}
				left, err := count(ctx, s.db, "acme", "dev-1")
				if err != nil || left[countMinutes]+left[countHours]+left[countDays] != 0 {
					t.Errorf("step %d: left %v, %v", step, left, err)
				}
				noted := map[string]int64{}
				if err := tombstone.Counts(ctx, s.db, "j", noted); err != nil || fmt.Sprint(noted) != fmt.Sprint(want) {
					t.Errorf("step %d: noted %v, expected %v, %v", step, noted, want, err)
				}
				if objects, _ := published(t, s); files(t, dir) != len(objects) {
					t.Errorf("step %d: %d objects lie there, %d are published", step, files(t, dir), len(objects))
				}
			}
		}
		if steps < 5 {
			t.Errorf("saw %d steps", steps)
		}
	})
}

// meanwhile is a backend in which an object is replaced while it is read.
type meanwhile struct {
	backend
	n int
}

func (m *meanwhile) view(ctx context.Context, fn func(tx) error) error {
	err := m.backend.view(ctx, fn)
	if m.n++; m.n == 1 {
		return errors.Join(err, errMoved)
	}
	return err
}

// Counting for an erasure starts again if minutes are moved meanwhile.
func TestCold_CountingGoesOnWhileMinutesAreMoved(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		_, _, tiered, _ := twins(t, 3, fresh)
		want, err := tiered.countOld(t.Context(), "acme", "dev-1")
		if err != nil || want == 0 {
			t.Fatal(want, err)
		}
		n := 0
		if !tiered.parted {
			n = -1 // it asks for its journal first
		}
		tiered.backend = &meanwhile{tiered.backend, n}
		if got, err := tiered.countOld(t.Context(), "acme", "dev-1"); err != nil || got != want {
			t.Errorf("%d, expected %d, %v", got, want, err)
		}
	})
}

// parts returns the parts of a key of a dump.
func parts(t *testing.T, key string) (res, fleet, device string, bucket int64) {
	t.Helper()
	if _, err := fmt.Sscan(key, &res, &fleet, &device, &bucket); err != nil {
		t.Fatal(err)
	}
	return res, fleet, device, bucket
}

// Retention deletes the objects of days that are over, except the data of held fleets; a dry run
// predicts the result.
func TestCold_RetentionAndHoldsReachOldMinutes(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		events, _, tiered, dir := twins(t, 4, fresh)
		moved, _ := published(t, tiered)
		more := overDays(rand.New(rand.NewPCG(4, 1)), 40)
		add(t, tiered, later, gather(more)) // some are rows beside their objects
		rebuilt := gather(slices.Concat(events, more))[:40]
		if done, err := tiered.Replace(t.Context(), rebuilt, later); err != nil || done.Windows == 0 {
			t.Fatal(done, err)
		}
		finish(t, tiered)
		going, staying := int64(0), int64(0) // windows of the days that are to be deleted
		for key := range dump(t, tiered) {
			if res, fleet, _, bucket := parts(t, key); res == "1m" && bucket < byDay.floor(noon.Unix()) {
				if fleet == "other" {
					staying++
				} else {
					going++
				}
			}
		}
		tiered.limits.Keep = 24 * time.Hour
		pass := expire.Pass{Now: noon.Add(24 * time.Hour), DryRun: true, // the days before noon's go
			Held: func(context.Context) ([]string, error) { return []string{"other"}, nil }}
		foreseen, err := tiered.retain(t.Context(), pass)
		if err != nil {
			t.Fatal(err)
		}
		pass.DryRun = false
		done, err := tiered.retain(t.Context(), pass)
		if err != nil || done.Minutes.Rows != going || done.Minutes.Kept != staying || foreseen.Minutes.Rows != going ||
			foreseen.Minutes.Kept != staying || done.Minutes.Changed != len(moved) {
			t.Fatalf("%+v, foreseen %+v, expected %d and %d, %v", done.Minutes, foreseen.Minutes, going, staying, err)
		}
		for key := range dump(t, tiered) {
			if _, fleet, _, bucket := parts(t, key); fleet != "other" && bucket < byDay.floor(noon.Unix()) {
				t.Errorf("%s is still there", key)
			}
		}
		pass.Held = nil
		if done, err = tiered.retain(t.Context(), pass); err != nil || done.Minutes.Objects != len(moved) ||
			done.Minutes.Rows != staying {
			t.Fatalf("%+v, %v", done.Minutes, err)
		}
		if objects, _ := published(t, tiered); len(objects) != 0 || files(t, dir) != 0 {
			t.Errorf("%d objects are left, %d files", len(objects), files(t, dir))
		}
	})
}
