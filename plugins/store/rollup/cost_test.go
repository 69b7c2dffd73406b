package rollup

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
	"weir/plugins/operate/cost"
	"weir/tests/integration/require"
)

// costMonth writes thirty days of some devices, an hour each day, with an event every ten seconds,
// as the batches of a stream are written: the row again for each event.
func costMonth(t *testing.T, s *Store, devices, metrics, name int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	level := make([]float64, metrics)
	first, n := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC), 0
	for day := range 30 {
		hour := first.AddDate(0, 0, day)
		for tick := range 6 {
			var bodies []string
			for d := range devices {
				for minute := range 60 {
					at := hour.Add(time.Duration(minute)*time.Minute + time.Duration(tick*10)*time.Second +
						time.Duration(r.IntN(9999))*time.Millisecond)
					var b strings.Builder
					for m := range metrics {
						level[m] += r.Float64() - 0.5
						fmt.Fprintf(&b, `,"%s%02d":%.2f`, strings.Repeat("m", name-2), m, 40+level[m]/10)
					}
					n++
					bodies = append(bodies, testEvent(n, fmt.Sprintf("sensor-%05d", d), at, "{"+b.String()[1:]+"}"))
				}
			}
			add(t, s, hour.Add(61*time.Minute), windowsOf(t, "acme", bodies...))
			if metrics > 20 { // parts of rows that long are in a separate table, which only a vacuum shrinks
				vacuum(t, s)
			}
		}
		writeOut(t, s)
		vacuum(t, s)
		roll(t, s, hour.Add(2*time.Hour))
	}
}

// freshDatabase creates a separate database: transactions of other tests would keep dead rows in a
// shared one.
func freshDatabase(t *testing.T, of string) string {
	t.Helper()
	db, err := sqldb.Open(context.Background(), of)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("cost_test_%d", rand.Uint64())
	if _, err := db.ExecContext(context.Background(), `CREATE DATABASE `+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.ExecContext(context.Background(), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
		_ = db.Close()
	})
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// withoutAutovacuum turns autovacuum off: it would run at arbitrary times, and keeps dead rows
// while it reads.
const withoutAutovacuum = `DO $$ DECLARE r regclass; BEGIN
	FOR r IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relname LIKE 'rollup_window%'
		AND coalesce(array_to_string(reloptions, ' '), '') NOT LIKE '%autovacuum%' LOOP
		EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)', r);
	END LOOP; END $$`

// vacuum does what autovacuum does, at the same points of each run.
func vacuum(t *testing.T, s *Store) {
	t.Helper()
	p, is := s.backend.(*postgres)
	if !is {
		return
	}
	for _, sql := range []string{withoutAutovacuum, `VACUUM rollup_window_1m`} {
		if _, err := p.db.ExecContext(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// monthSize returns the bytes of the tables of a store, and the numbers of their rows.
func monthSize(t *testing.T, s *Store) (size, minutes, hours, days float64) {
	t.Helper()
	rows := `SELECT (SELECT count(*) FROM rollup_window_1m), (SELECT count(*) FROM rollup_window_1h),
		(SELECT count(*) FROM rollup_window_1d), `
	var err error
	switch b := s.backend.(type) {
	case *sqlite:
		err = b.db.QueryRowContext(t.Context(), rows+`(SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)`).
			Scan(&minutes, &hours, &days, &size)
	case *postgres:
		err = b.db.QueryRowContext(t.Context(), rows+`(SELECT sum(pg_total_relation_size(c.oid))::float8 FROM pg_class c
			WHERE c.relnamespace = current_schema::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'rollup_window%')`).
			Scan(&minutes, &hours, &days, &size)
	}
	if err != nil {
		t.Fatal(err)
	}
	return size, minutes, hours, days
}

// The model of `weir cost` predicts the size of a month of rollups to within a tenth: that of
// SQLite's file, and pg_total_relation_size.
func TestCost_AMonthOfRollupsIsAsLargeAsTheModelSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ devices, metrics, name int }{
		{4, 4, 20}, {4, 4, 6}, {3, 40, 20}, {3, 40, 7}, // names of half the length, or twice
	} {
		t.Run(fmt.Sprintf("%d_metrics_named_by_%d_bytes", c.metrics, c.name), func(t *testing.T) {
			t.Run("sqlite", func(t *testing.T) {
				monthFits(t, "sqlite://"+t.TempDir()+"/r.db", c.devices, c.metrics, c.name)
			})
			t.Run("postgres", func(t *testing.T) {
				at := freshDatabase(t, require.Env(t, "WEIR_TEST_POSTGRES_URL"))
				monthFits(t, at, c.devices, c.metrics, c.name)
			})
		})
	}
}

func monthFits(t *testing.T, at string, devices, metrics, name int) {
	t.Helper()
	s := openStore(t, at)
	costMonth(t, s, devices, metrics, name)
	load := cost.Baseline()
	load.Metrics, load.NameBytes = float64(metrics), float64(name)
	_, load.SQLite = s.backend.(*sqlite)
	size, minutes, hours, days := monthSize(t, s)
	// each day had one hour, so its row is an hour's
	want := minutes*load.RowBytes(cost.Minute) + (hours+days)*load.RowBytes(cost.Hour)
	t.Logf("%.0f bytes of %.0f rows, the model says %.0f: %+.1f %%", size, minutes, want, (want/size-1)*100)
	if math.Abs(want/size-1) > 0.1 {
		t.Errorf("%.0f bytes, and the model says %.0f: off by more than a tenth", size, want)
	}
}
