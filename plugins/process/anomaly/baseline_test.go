package anomaly

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
	"weir/plugins/store/rollup"
)

// days writes the rollups of whole days, as the rollup store keeps them, and
// returns all the readings of the last seven.
func (r *rig) days(device string, first, n int64) (last []float64) {
	r.t.Helper()
	ctx := context.Background()
	db, err := sqldb.Open(ctx, r.rollups())
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := rollup.Open(ctx, db, rollup.DefaultLimits()); err != nil {
		r.t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	for d := first; d < first+n; d++ {
		var values []float64
		for range 50 + rnd.IntN(50) {
			values = append(values, float64(d%5)+rnd.NormFloat64())
		}
		if d >= first+n-baselineDays {
			last = append(last, values...)
		}
		s := naive(values)
		numbers := fmt.Sprintf(`%g,%.17g,0,0,%.17g,0,0,0,0`, s.n, s.mean*s.n, s.m2)
		insert := `INSERT INTO rollup_window_1d (fleet, device_id, bucket, updated_at, metrics, stats, detail) VALUES ('acme', '%s', %d, 0, '["t"]', '[%s]', '')`
		if db.Dialect == sqldb.Postgres {
			insert = `INSERT INTO rollup_window_1d (fleet, device_id, bucket, updated_at, metrics, stats, detail) VALUES ('acme', '%s', to_timestamp(%d), now(), '{t}', '{%s}', '')`
		}
		if _, err := db.Exec(fmt.Sprintf(insert, device, d*daySeconds, numbers)); err != nil {
			r.t.Fatal(err)
		}
	}
	return last
}

const unlike = `rules: [{name: unlike, detector: baseline, metrics: [t], min_samples: 3}]`

func TestAnomaly_BaselineIsOfTheLastSevenDaysAndVoidAfterAFirmwareChange(t *testing.T) {
	onEach(t, unlike, baselineOverAWeek)
}

func baselineOverAWeek(t *testing.T, r *rig) {
	now := noon
	r.p.now = func() time.Time { return now }
	ctx := context.Background()
	today := noon.Unix() / daySeconds
	last := r.days("d", today-20, 20)

	// the first event makes the device known: its learning began with its rollups
	if out := r.mark(record(1, noon, 1000)); len(out) != 0 {
		t.Fatalf("without a baseline: %+v", out)
	}
	if err := r.p.flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.p.learn(ctx); err != nil {
		t.Fatal(err)
	}
	want := naive(last)
	out := r.mark(record(2, noon.Add(10*time.Second), want.mean+7*want.stddev()))
	if len(out) != 1 || !near(*out[0].Score, 7, 1e-6) || !near(*out[0].Expected, want.mean, 1e-9) {
		t.Fatalf("with a baseline of %.3f ± %.3f: %+v", want.mean, want.stddev(), out)
	}

	update := func(offset int, at time.Time, value float64) []transition {
		m := record(offset, at, value)
		m.SetBytes([]byte(body("d", "1.1.0", offset, at, value)))
		return r.mark(m)
	}
	if out := update(3, noon.Add(20*time.Second), 1000); len(out) != 1 || out[0].Transition != didResolve {
		t.Fatalf("after the update: %+v", out)
	}
	if err := r.p.flush(ctx); err != nil {
		t.Fatal(err)
	}
	r.start() // and it is not forgotten
	r.p.now = func() time.Time { return now }
	r.p.day.Store(dayOf(now))
	if out := update(4, noon.Add(30*time.Second), 2000); len(out) != 0 {
		t.Errorf("after a restart: %+v", out)
	}

	now = noon.AddDate(0, 0, 9)
	r.days("d", today+1, 8)
	if err := r.p.learn(ctx); err != nil {
		t.Fatal(err)
	}
	if out := update(5, now, 2000); len(out) != 1 {
		t.Errorf("nine days on: %+v", out)
	}
}

func TestAnomaly_BaselinesAreComputedOnceADay(t *testing.T) {
	r := newRig(t, unlike, "")
	ctx := context.Background()
	r.days("d", noon.Unix()/daySeconds-3, 3)
	r.mark(record(1, noon, 1))
	if err := r.p.flush(ctx); err != nil {
		t.Fatal(err)
	}
	m, ru, err := r.p.stores.open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		if err := m.db.QueryRow(`SELECT count(*) FROM anomaly_day`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, at := range []time.Time{noon, noon.Add(12 * time.Hour), noon.Add(12*time.Hour + 59*time.Minute)} {
		if day, err := computeBaselines(ctx, *m, *ru, at); err != nil || day != dayOf(noon) || count() != 1 {
			t.Fatalf("at %s: day %d, %v, computed %d times", at, day, err, count())
		}
	}
	if day, err := computeBaselines(ctx, *m, *ru, noon.Add(13*time.Hour)); err != nil || day != dayOf(noon)+1 ||
		count() != 2 {
		t.Errorf("an hour after midnight: day %d, %v, computed %d times", day, err, count())
	}
}
