package rollup

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
	"weir/tests/integration/require"
)

// Rolling an hour looks for devices that have rows in it, so its minutes must not be moved before.
func TestCold_MinutesOfAnOpenHourDoNotMove(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s, dir := openStore(t, fresh()), t.TempDir()
		old := noon.Add(-48 * time.Hour)
		add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", old, `{"x":1}`)))
		writeOut(t, s)
		seal(t, s, later)
		if n := moveOld(t, s, dir); n != 0 {
			t.Fatalf("moved %d", n)
		}
		finish(t, s)
		if n := moveOld(t, s, dir); n != 1 {
			t.Fatalf("moved %d", n)
		}
		// Another hour of the same day that begins to fill later is not moved either.
		add(t, s, later, windowsOf(t, "acme", testEvent(2, "a", old.Add(3*time.Hour), `{"x":1}`),
			testEvent(3, "a", old, `{"x":1}`)))
		writeOut(t, s)
		seal(t, s, later.Add(9*day))
		if n := moveOld(t, s, dir); n != 1 {
			t.Fatalf("moved %d", n)
		}
		if _, err := s.roll(t.Context(), rollPolicy{Settle: time.Minute, Refresh: time.Hour}, later.Add(day)); err != nil {
			t.Fatal(err)
		}
		if n := moveOld(t, s, dir); n != 1 {
			t.Fatalf("moved %d", n)
		}
		for _, res := range []resolution{byMinute, byHour, byDay} {
			if got := fmt.Sprint(counts(t, s, res)); got != "map[a:3]" {
				t.Errorf("%s: %s", res.Name, got)
			}
		}
	})
}

// Nothing is moved while processes of a version that does not know objects may still run.
func TestCold_MovingBeginsADayAfterAnUpgrade(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		url, dir := fresh(), t.TempDir()
		db, err := sqldb.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		known := slices.IndexFunc(migrations(), func(m sqldb.Migration) bool { return m.SQLite == sqliteCold })
		if err := db.Migrate(t.Context(), "rollup", migrations()[:known]); err != nil {
			t.Fatal(err)
		}
		row := `INSERT INTO rollup_window_1m (fleet, device_id, bucket, updated_at, metrics, stats, detail, version, ledger_state)
			VALUES ('f', 'd', 0, 0, '[]', '[]', x'01', 1, 1)`
		if db.Dialect == sqldb.Postgres {
			row = `INSERT INTO rollup_window_1m (fleet, device_id, bucket, updated_at, metrics, stats, detail, version, ledger_state)
				VALUES ('f', 'd', to_timestamp(0), to_timestamp(0), '{}', '{}', '\x01', 1, 1)`
			pg := newPostgres(db, &cold{}, "")
			if err := errors.Join(db.QueryRowContext(t.Context(), `SELECT relkind = 'p' FROM pg_class WHERE oid = 'rollup_window_1m'::regclass`).Scan(&pg.native),
				pg.prepare(t.Context(), byMinute, []*windowRow{{}})); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.ExecContext(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, url)
		for want, after := range []time.Duration{23 * time.Hour, 25 * time.Hour} {
			n, _, err := s.move(t.Context(), oldMover(dir), time.Now().Add(after))
			if err != nil || n != int64(want) {
				t.Errorf("%s after it: moved %d, %v", after, n, err)
			}
		}
	})
}

// One process moves at a time. One that has lost its lease publishes nothing.
func TestCold_OneProcessMovesAtATime(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		ctx, url, dir := t.Context(), fresh(), t.TempDir()
		one, two := openStore(t, url), openStore(t, url)
		if err := one.place(ctx, lake.FileURL(dir)); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		first, err := one.takeTier(ctx, now)
		if err != nil {
			t.Fatal(err)
		}
		if n, _, err := two.move(ctx, oldMover(dir), later); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if err := two.place(ctx, lake.FileURL(t.TempDir())); !errors.Is(err, errTierBusy) {
			t.Fatalf("the place changes while somebody moves: %v", err)
		}
		second, err := two.takeTier(ctx, now.Add(time.Hour)) // the lease of the first has expired
		if err != nil {
			t.Fatal(err)
		}
		o := coldObject{Day: 0, Key: "x", Windows: 1}
		if err := first.swap(ctx, nil, []coldObject{o}, nil); !errors.Is(err, jobs.ErrLost) {
			t.Fatalf("who was too slow: %v", err)
		}
		if objects, _ := published(t, two); len(objects) > 0 {
			t.Fatal("it was published")
		}
		if err := errors.Join(first.release(ctx), second.keep(ctx), second.release(ctx)); err != nil {
			t.Fatal(err)
		}
		third, err := one.takeTier(ctx, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := third.release(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A process that waits for the tier gets it between two days as well, if there are many days and
// each is moved quickly.
func TestCold_MovingLetsOthersInBetweenDays(t *testing.T) {
	onEachStore(t, func(t *testing.T, fresh func() string) {
		s, m := openStore(t, fresh()), oldMover(t.TempDir())
		m.most = 0
		for back := range 3 {
			add(t, s, noon, windowsOf(t, "acme", testEvent(back, "a", noon.Add(-time.Duration(back+2)*day), `{"x":1}`)))
		}
		finish(t, s)
		seal(t, s, later)
		for pass, want := range []int64{1, 1, 1, 0} {
			if n, more, err := s.move(t.Context(), m, later); n != want || more != (want > 0) || err != nil {
				t.Errorf("pass %d moved %d, more %v, %v", pass+1, n, more, err)
			}
		}
	})
}

// A partition whose minutes were all moved is dropped, and created again when a late event needs
// it.
func TestCold_APartitionThatWasMovedIsDropped(t *testing.T) {
	s := openStore(t, freshSchema(t, require.Env(t, "WEIR_TEST_POSTGRES_URL")))
	pg := s.backend.(*postgres)
	if !pg.native {
		return // TimescaleDB manages the partitions
	}
	old := noon.Add(-30 * day)
	add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", old, `{"x":1}`), testEvent(2, "a", noon, `{"x":1}`)))
	writeOut(t, s)
	names := func() int {
		list, err := pg.partitionsBefore(t.Context(), byMinute, later.Unix())
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	m := oldMover(t.TempDir())
	if err := s.shrink(t.Context(), m, later); err != nil || names() != 2 {
		t.Fatalf("%d partitions, %v", names(), err)
	}
	finish(t, s)
	seal(t, s, later)
	if n := moveOld(t, s, strings.TrimPrefix(m.url, "file://")); n != 1 {
		t.Fatalf("moved %d", n)
	}
	if err := s.shrink(t.Context(), m, later); err != nil || names() != 1 {
		t.Fatalf("%d partitions, %v", names(), err)
	}
	add(t, s, later, windowsOf(t, "acme", testEvent(3, "a", old, `{"x":1}`)))
	if got := fmt.Sprint(counts(t, s, byMinute)); got != "map[a:3]" || names() != 2 {
		t.Errorf("%s, %d partitions", got, names())
	}
}

// Minutes cannot be moved to a store that ends with the process.
func TestCold_OldMinutesAreNotMovedIntoMemory(t *testing.T) {
	for url, want := range map[string]bool{
		"": true, lake.FileURL(t.TempDir()): true, "s3://bucket?region=eu-central-1": true, "mem://": false,
	} {
		parsed, err := storeSpec().ParseYAML("url: sqlite:///x/y.db\nold_url: "+strconv.Quote(url),
			service.NewEnvironment())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := newOutput(parsed, service.MockResources()); (err == nil) != want {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// What a pass that failed has left is deleted by the next one of the same process.
func TestCold_TheNextPassSweepsWhatAFailedOneLeft(t *testing.T) {
	s, dir := openStore(t, "sqlite://"+t.TempDir()+"/rollups.db"), t.TempDir()
	add(t, s, noon, windowsOf(t, "acme", testEvent(1, "a", noon.Add(-48*time.Hour), `{"x":1}`)))
	finish(t, s)
	seal(t, s, later)
	m := oldMover(dir)
	m.swept = true // an earlier pass had nothing to delete
	if _, err := s.db.ExecContext(t.Context(), `CREATE TRIGGER full BEFORE INSERT ON rollup_cold
		BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.move(t.Context(), m, later); err == nil || files(t, dir) == 0 {
		t.Fatalf("the move did not fail after it wrote: %v, %d files", err, files(t, dir))
	}
	left := files(t, dir)
	if _, err := s.db.ExecContext(t.Context(), `DROP TRIGGER full`); err != nil {
		t.Fatal(err)
	}
	n, _, err := s.move(t.Context(), m, later)
	if objects, _ := published(t, s); n != 1 || err != nil || len(objects) != 1 || files(t, dir) != left {
		t.Errorf("%d moved, %v, %d objects, %d files, %d after the failure", n, err, len(objects), files(t, dir), left)
	}
}
