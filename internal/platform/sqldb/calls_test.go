package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"weir/internal/platform/calls"
	"weir/internal/platform/storeurl"
	"weir/tests/integration/require"
)

func TestCalls_KindsAreToldByTheStatement(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT 1": callRead, "\n\t\tselect x": callRead, "begin": callRead, "commit": callCommit, "COMMIT;": callCommit,
		"INSERT INTO t VALUES (1)": callWrite, "CREATE TABLE t (x INT)": callWrite, "": callRead, "(SELECT 1)": callRead,
		"WITH m AS (SELECT 1 FOR UPDATE) SELECT 2":           callRead,
		"WITH old AS (SELECT 1) DELETE FROM t":               callWrite,
		"WITH old AS (SELECT 1) UPDATE t SET x = 1 FROM old": callWrite,
		"WITH RECURSIVE f (x) AS (SELECT 1) SELECT x FROM f": callRead,
		"UPDATE t SET x = 1":                                 callWrite, "rollback": callRead, "SET x = 1": callWrite,
	} {
		if got := kindOf(query); got != want {
			t.Errorf("%q is a %s, want %s", query, got, want)
		}
	}
}

// A server that says what it should has not failed.
func TestCalls_AnswersAreNoFailures(t *testing.T) {
	for _, is := range []struct {
		err  error
		want bool
	}{
		{pgx.ErrNoRows, true}, {fmt.Errorf("inserting: %w", &pgconn.PgError{Code: "23505"}), true},
		{&pgconn.PgError{Code: "40001"}, true}, {&pgconn.PgError{Code: "55P03"}, true},
		{&pgconn.PgError{Code: "53100"}, false}, {&pgconn.PgError{Code: "57014"}, false},
		{errors.New("connection refused"), false}, {context.DeadlineExceeded, false}, {nil, false},
	} {
		if got := answer(is.err); got != is.want {
			t.Errorf("%v is an answer: %t, want %t", is.err, got, is.want)
		}
	}
}

// Each statement of a real server is told, with what it was, and how it ended.
func TestCalls_EveryStatementIsTold(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	meter := &calls.Meter{Tell: func(kind string, took time.Duration, failed bool) {
		mu.Lock()
		defer mu.Unlock()
		told[kind]++
		if failed {
			told[kind+" failed"]++
		}
		if took <= 0 {
			t.Errorf("a %s took %s", kind, took)
		}
	}}
	db, err := open(t.Context(), require.Env(t, "WEIR_TEST_POSTGRES_URL"), func(Dialect) *calls.Meter { return meter })
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRowContext(t.Context(), `SELECT 1 WHERE false`).Scan(&n); !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `CREATE TEMPORARY TABLE calls_told (x INT) ON COMMIT DROP`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `DELETE FROM there_is_none`); err == nil {
		t.Fatal("a table that is not there was deleted from")
	}
	mu.Lock()
	defer mu.Unlock()
	if told[callConnect] != 1 || told[callRead] != 2 || told[callWrite] != 2 || told[callCommit] != 1 ||
		told[callWrite+" failed"] != 1 || len(told) != 5 {
		t.Errorf("told were %v", told)
	}
}

// The same of a file: a statement for many rows is one call, and a row that is there
// is an answer.
func TestCalls_StatementsOfAFileAreTold(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	meter := &calls.Meter{Tell: func(kind string, took time.Duration, failed bool) {
		mu.Lock()
		defer mu.Unlock()
		told[kind]++
		if failed {
			told[kind+" failed"]++
		}
		if took < 0 {
			t.Errorf("a %s took %s", kind, took)
		}
	}}
	db, err := open(t.Context(), storeurl.New("sqlite", filepath.Join(t.TempDir(), "told.db")),
		func(d Dialect) *calls.Meter {
			if d != SQLite {
				t.Errorf("a meter is asked of %s", d)
			}
			return meter
		})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	run := func(query string, args ...any) error {
		_, err := db.ExecContext(t.Context(), query, args...)
		return err
	}
	if err := run(`CREATE TABLE t (x INTEGER PRIMARY KEY, s TEXT)`); err != nil {
		t.Fatal(err)
	}
	clear(told)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stmt, err := tx.PrepareContext(t.Context(), `INSERT INTO t VALUES ($1, $2)`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := stmt.ExecContext(t.Context(), i, "s"); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(stmt.Close(), tx.Commit()); err != nil {
		t.Fatal(err)
	}
	rows, err := All(t.Context(), db, Value[int64], `SELECT x FROM t ORDER BY x`)
	if err != nil || len(rows) != 10 || rows[9] != 9 {
		t.Fatalf("%v %v", rows, err)
	}
	if run(`INSERT INTO t VALUES (3, 'again')`) == nil || run(`DELETE FROM there_is_none`) == nil {
		t.Fatal("what cannot be was done")
	}
	mu.Lock()
	defer mu.Unlock()
	want := map[string]int{callRead: 1, callWrite: 4, callWrite + " failed": 1, callCommit: 1}
	if !maps.Equal(told, want) {
		t.Errorf("told were %v, want %v", told, want)
	}
}
