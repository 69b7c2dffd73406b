package rule

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// target buries the tombstone of a device, and returns the target of its erasure.
func (b *bench) target(db *sqldb.DB, job, device string) tombstone.Target {
	b.Helper()
	t := tombstone.Target{Job: job, Fleet: "plant-1", Device: device, Until: time.Now().UnixMicro()}
	if err := tombstone.Bury(b.Context(), db, t.Stone()); err != nil {
		b.Fatal(err)
	}
	return t
}

// The sums of hours in which an erased device had results are made anew from the remaining results,
// also if the process is killed meanwhile. In the end they are as if the device had never been there.
// Until then the results of these hours are read one by one.
func TestFurthest_AnErasedDeviceIsInNoSum(t *testing.T) {
	onBoth(t, func(b *bench) {
		ctx, r := b.Context(), rand.New(rand.NewPCG(17, 4))
		log := crowd(r, 6000, 300)
		o := b.operator()
		b.apply(o, log[:3500]...)
		db := b.open()
		target := b.target(db, "job", "pump-7")
		before, err := count(ctx, db, "plant-1", "pump-7")
		if err != nil || before[countSums] < 3 || before[countResults] < 3 {
			b.Fatal(before, err)
		}
		if err := tombstone.Update(ctx, db, func(tx *sql.Tx) error { // and then the process is killed
			return eraseRows(ctx, tx, db.Dialect, target)
		}); err != nil {
			b.Fatal(err)
		}
		b.agrees(db, whole(), 5000)
		if _, err := SumFunnel(ctx, db, whole(), 10); !errors.Is(err, ErrRemade) {
			b.Errorf("reading sums that are not made anew yet: %v", err)
		}
		for range 3 {
			if err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
				more, err := remakeSome(ctx, tx, db.ForUpdate(), "plant-1", 20)
				if !more {
					err = errors.Join(err, errors.New("all sums were made anew before the third step"))
				}
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.apply(o, log[3500:4000]...) // results go on, also in the same hours
		b.agrees(db, whole(), 5000)
		if err := erase(ctx, db, target); err != nil {
			b.Fatal(err)
		}
		b.apply(o, log[4000:]...)
		b.everyHour(db)
		b.agrees(db, whole(), 0)
		counts := map[string]int64{}
		if err := tombstone.Counts(ctx, db, "job", counts); err != nil {
			b.Fatal(err)
		}
		if counts[countSums] != before[countSums] || counts[countResults] != before[countResults] {
			b.Errorf("the erasure deleted %v, and %v were counted before", counts, before)
		}
		hash := xxhash.Sum64String("pump-7")
		if err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
			raw, err := sqldb.Value[[]byte](row)
			if err != nil {
				return err
			}
			sum, err := decodeFurthest(raw)
			for _, set := range append(sum.made, sum.none) {
				if _, has := slices.BinarySearch(set.few, hash); has {
					err = errors.New("a sum has the hash of the erased device")
				}
			}
			return err
		}, `SELECT steps FROM rule_furthest WHERE hour < $1`, noon().Add(5*time.Hour).UnixMicro()); err != nil {
			b.Error(err)
		}
		if err := erase(ctx, db, b.target(db, "all", "")); err != nil {
			b.Fatal(err)
		}
		left := 0
		if err := db.QueryRow(`SELECT count(*) FROM rule_furthest`).Scan(&left); err != nil || left != 0 {
			b.Errorf("%d sums of an erased fleet are left: %v", left, err)
		}
	})
}

// Retention deletes sums with the last of their results. Sums that have lost some results may count a
// device that is erased later: an erasure makes them anew from the remaining results, too.
func TestFurthest_GoesWithItsResults(t *testing.T) {
	onBoth(t, func(b *bench) {
		ctx, log := b.Context(), crowd(rand.New(rand.NewPCG(17, 5)), 1500, 60)
		o := b.operator()
		clock := time.Now()
		o.now = func() time.Time { clock = clock.Add(time.Minute); return clock }
		for part := range slices.Chunk(log, 50) {
			b.apply(o, part...)
		}
		db := b.open()
		var oldest, newest int64
		if err := db.QueryRow(`SELECT min(recorded_at), max(recorded_at) FROM rule_result WHERE rule = 'funnel_buy'`).
			Scan(&oldest, &newest); err != nil {
			b.Fatal(err)
		}
		before := time.UnixMicro((oldest + newest) / 2)
		held := []string{"plant-1"}
		pass := expire.Pass{Now: clock, Held: func(context.Context) ([]string, error) { return held, nil }}
		all := b.tallied(db, whole())
		if _, err := expireResults(ctx, db, pass, before); err != nil || b.tallied(db, whole()).entries != all.entries {
			b.Fatalf("results of a held fleet were deleted (%v)", err)
		}
		b.everyHour(db)
		held = nil
		removed, err := expireResults(ctx, db, pass, before)
		left := b.tallied(db, whole())
		if err != nil || removed.Rows < all.entries-left.entries || left.entries == 0 || left.entries == all.entries {
			b.Fatalf("removed %+v of %d results, %d are left: %v", removed, all.entries, left.entries, err)
		}
		var gone, thinned int
		if err := db.QueryRow(`SELECT (SELECT count(*) FROM rule_furthest f WHERE NOT EXISTS (SELECT 1 FROM rule_result r
			WHERE r.rule = f.rule AND r.window_end >= f.hour AND r.window_end < f.hour + 3600000000)), (SELECT count(*)
			FROM rule_furthest WHERE thinned = 1)`).Scan(&gone, &thinned); err != nil || gone > 0 || thinned == 0 {
			b.Errorf("%d sums without a result, %d thinned: %v", gone, thinned, err)
		}
		sum, err := SumFunnel(ctx, db, whole(), 0)
		if err != nil || sum.Entries < left.entries {
			b.Errorf("the sums have %d entries, and there are %d results: %v", sum.Entries, left.entries, err)
		}
		if err := erase(ctx, db, b.target(db, "job", "of nothing")); err != nil {
			b.Fatal(err)
		}
		sum, err = SumFunnel(ctx, db, whole(), 0)
		left = b.tallied(db, whole())
		if began, _ := sum.Devices(); err != nil || began != left.devices {
			b.Errorf("made anew, the sums have %d devices, and the results %d: %v", began, left.devices, err)
		}
	})
}
