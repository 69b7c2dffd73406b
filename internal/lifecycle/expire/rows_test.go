package expire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/platform/sqldb"
	"weir/tests/integration/require"
)

func stores(t *testing.T, test func(*testing.T, *sqldb.DB)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, filled(t, "sqlite://"+filepath.Join(t.TempDir(), "x.db")))
	})
	t.Run("postgres", func(t *testing.T) {
		url := require.Env(t, "WEIR_TEST_POSTGRES_URL")
		own, err := sqldb.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		schema := fmt.Sprintf("keep_test_%d", rand.Uint64())
		if _, err := own.ExecContext(t.Context(), `CREATE SCHEMA `+schema); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := own.ExecContext(context.Background(), `DROP SCHEMA `+schema+` CASCADE`); err != nil {
				t.Error(err)
			}
			_ = own.Close()
		})
		test(t, filled(t, url+"&search_path="+schema))
	})
}

// epoch is the time of the rows: one a second, more than fit into a chunk.
var epoch = time.Unix(1_000_000, 0)

const rowsOfEach = 1200

func filled(t *testing.T, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, query := range []string{
		`CREATE TABLE thing (id TEXT PRIMARY KEY, fleet TEXT NOT NULL, at BIGINT NOT NULL)`,
		`CREATE TABLE part (thing TEXT NOT NULL)`,
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i < %d), f(fleet) AS (SELECT 'acme' UNION SELECT 'other' UNION SELECT '')
			INSERT INTO thing SELECT fleet || i, fleet, (1000000 + i) * CAST(1000000 AS BIGINT) FROM n, f`, rowsOfEach-1),
		`INSERT INTO part SELECT id FROM thing`,
	} {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	return db
}

func left(t *testing.T, db *sqldb.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestExpire_OldRowsGoButNotThoseOfHeldFleetsNorThoseOfNobody(t *testing.T) {
	stores(t, func(t *testing.T, db *sqldb.DB) {
		things := Rows{Table: "thing", Key: "id", Old: "at < $1", Fleet: "fleet",
			With: []string{`DELETE FROM part WHERE thing IN (`}}
		unknown := Rows{Table: "thing", Key: "id", Old: "at < $1"}
		held := []string{"other", "third"}
		p := Pass{DryRun: true, Held: func(context.Context) ([]string, error) { return held, nil }}
		end := epoch.Add(1100 * time.Second)
		for _, c := range []struct {
			rows       Rows
			gone, kept int64
		}{{things, 1100, 2200}, {unknown, 0, 3300}} {
			if plan, err := c.rows.Expire(t.Context(), db, p, end); err != nil || plan.Rows != c.gone || plan.Kept != c.kept ||
				left(t, db, "thing") != 3*rowsOfEach {
				t.Fatalf("a dry run: %+v, %v", plan, err)
			}
		}
		p.DryRun = false
		if done, err := unknown.Expire(t.Context(), db, p, end); err != nil || done.Rows != 0 {
			t.Fatalf("rows that don't tell whose they are went: %+v, %v", done, err)
		}
		if done, err := things.Expire(t.Context(), db, p, end); err != nil || done.Rows != 1100 || done.Kept != 2200 {
			t.Fatalf("%+v, %v", done, err)
		}
		if n := left(t, db, "thing WHERE fleet <> 'acme'"); n != 2*rowsOfEach || left(t, db, "part") != left(t, db, "thing") {
			t.Fatalf("%d rows of others are left, and %d parts", n, left(t, db, "part"))
		}
		held = nil
		if done, err := things.Expire(t.Context(), db, p, end); err != nil || done.Rows != 2200 ||
			left(t, db, "thing") != 300 || left(t, db, "part") != 300 {
			t.Fatalf("after the hold: %+v, %v", done, err)
		}
	})
}

func TestExpire_AHoldThatComesMeanwhileStopsTheRest(t *testing.T) {
	stores(t, func(t *testing.T, db *sqldb.DB) {
		asked := 0
		p := Pass{Held: func(context.Context) ([]string, error) {
			if asked++; asked == 1 {
				return nil, nil
			}
			return []string{"acme", "other"}, nil
		}}
		done, err := Rows{Table: "thing", Key: "id", Old: "at < $1", Fleet: "fleet"}.Expire(t.Context(), db, p,
			epoch.Add(time.Hour))
		if err != nil || done.Rows != chunk || left(t, db, "thing") != 3*rowsOfEach-chunk {
			t.Fatalf("%+v, %v", done, err)
		}
		p.Held = func(context.Context) ([]string, error) { return nil, errors.New("away") }
		if done, err := (Rows{Table: "thing", Key: "id", Old: "at < $1"}).Expire(t.Context(), db, p,
			epoch.Add(time.Hour)); err == nil || done.Rows != 0 {
			t.Fatalf("without knowing the holds: %+v, %v", done, err)
		}
	})
}
