package quality

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

// Hours are kept, replaced, noted and erased in either database.
func TestStore_KeepsHours(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { keepsHours(t, "sqlite://"+t.TempDir()+"/control.db") })
	t.Run("postgres", func(t *testing.T) {
		base := require.Env(t, "WEIR_TEST_POSTGRES_URL")
		db, err := sqldb.Open(t.Context(), base)
		if err != nil {
			t.Fatal(err)
		}
		schema := fmt.Sprintf("quality_test_%d", time.Now().UnixNano())
		if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA `+schema); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := db.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
				t.Error(err)
			}
			_ = db.Close()
		})
		join := "?"
		if strings.Contains(base, "?") {
			join = "&"
		}
		keepsHours(t, base+join+"search_path="+schema)
	})
}

func keepsHours(t *testing.T, url string) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if took, err := s.take(t.Context(), "telemetry", "a", time.Now()); !took || err != nil {
		t.Fatal(took, err)
	}
	hour := time.Now().UTC().Truncate(time.Hour)
	m := mark{Names: "n", Stored: "s", Repeats: "r", Final: true}
	for _, repeats := range []int64{3, 1} {
		p := &Profile{Events: 7, Fields: map[string]*Field{"/metrics/t": {Numbers: 7}}}
		if err := s.replace(t.Context(), "telemetry", "a", hour, []Hour{{Key: Key{"plant-1", "telemetry/2"}, Profile: p,
			Repeats: repeats}}, mark{}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.note(t.Context(), "telemetry", "a", hour, m, time.Now()); err != nil {
		t.Fatal(err)
	}
	if marks, err := s.marks(t.Context(), "telemetry"); err != nil || len(marks) != 1 || marks[hour] != m {
		t.Errorf("%+v %v", marks, err)
	}
	count := func() (events, repeats int64) {
		t.Helper()
		if err := s.Hours(t.Context(), "", "plant-1", hour, hour.Add(time.Hour), func(h Hour) error {
			events, repeats = events+h.Profile.Events, repeats+h.Repeats
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return events, repeats
	}
	if events, repeats := count(); events != 7 || repeats != 3 {
		t.Errorf("%d events and %d repeats, want 7 and 3", events, repeats)
	}
	if err := tombstone.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if err := eraseHours(t.Context(), db, tombstone.Target{Job: "1", Fleet: "plant-1"}); err != nil {
		t.Fatal(err)
	}
	if events, _ := count(); events != 0 {
		t.Errorf("after the erasure: %d events", events)
	}
	if err := s.release(t.Context(), "telemetry", "a"); err != nil {
		t.Fatal(err)
	}
}
