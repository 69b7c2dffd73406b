package anomaly

import (
	"context"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// A detector that knows a device forgets it, judges nothing that was received
// before, and learns it anew from what comes later.
func TestAnomaly_AnErasedDeviceIsForgottenAndLearnedAnew(t *testing.T) {
	onEach(t, hot, func(t *testing.T, r *rig) {
		ctx := context.Background()
		start := time.Now().Add(-time.Hour).Truncate(time.Second)
		r.mark(record(1, start, 50))
		if err := r.p.flush(ctx); err != nil {
			t.Fatal(err)
		}
		m, _, err := r.p.stores.open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := count(ctx, m.db, "acme", "d"); err != nil || n[countBaselines] != 1 {
			t.Fatal(n, err)
		}
		until := start.Add(time.Minute)
		if err := tombstone.Migrate(ctx, m.db); err != nil {
			t.Fatal(err)
		}
		if err := tombstone.Bury(ctx, m.db, tombstone.Of("acme", "d", until)); err != nil {
			t.Fatal(err)
		}
		if err := r.p.honour(ctx); err != nil {
			t.Fatal(err)
		}
		if n := r.p.state.series.Load(); n != 0 {
			t.Fatalf("%d series are still known", n)
		}
		target := tombstone.Target{Job: "j", Fleet: "acme", Device: "d", Until: until.UnixMicro(), Buried: until.UnixMicro()}
		for range 2 {
			if err := erase(ctx, m.db, target); err != nil {
				t.Fatal(err)
			}
		}
		counted := map[string]int64{}
		if err := tombstone.Counts(ctx, m.db, "j", counted); err != nil || counted[countBaselines] != 1 {
			t.Fatal(counted, err)
		}
		if alerts := r.mark(record(2, start.Add(30*time.Second), 99)); len(alerts) > 0 {
			t.Fatalf("an erased event opened an alert: %+v", alerts)
		}
		if err := r.p.flush(ctx); err != nil {
			t.Fatal(err)
		}
		if n, err := count(ctx, m.db, "acme", "d"); err != nil || n[countBaselines] != 0 {
			t.Fatal("it is learned from what is erased", n, err)
		}
		if alerts := r.mark(record(3, until.Add(time.Second), 99)); len(alerts) != 1 || alerts[0].ReceivedAt == "" {
			t.Fatalf("what came later opened %+v", alerts)
		}
		if err := r.p.flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := erase(ctx, m.db, target); err != nil { // the second pass
			t.Fatal(err)
		}
		if n, err := count(ctx, m.db, "acme", "d"); err != nil || n[countBaselines] != 1 {
			t.Fatal("what came later is not learned", n, err)
		}
	})
}
