package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/platform/calls"
	"weir/internal/platform/storeurl"
)

func keeping(t testing.TB) *DB {
	t.Helper()
	db, err := open(t.Context(), storeurl.New("sqlite", filepath.Join(t.TempDir(), "kept.db")),
		func(Dialect) *calls.Meter { return &calls.Meter{Tell: func(string, time.Duration, bool) {}} })
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func (db *DB) must(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// looked hands the statements of the one connection to a function.
func (db *DB) looked(t *testing.T, look func(*statements)) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Raw(func(c any) error { look(&c.(*timedConn).texts); return nil }); err != nil {
		t.Fatal(err)
	}
}

// What a statement says is the same the first time, the second, when it is kept,
// and after the table has become another.
func TestStatements_AKeptOneSaysWhatAnotherWould(t *testing.T) {
	db := keeping(t)
	db.must(t, `CREATE TABLE t (x INTEGER PRIMARY KEY, s TEXT)`)
	for i := range 10 {
		db.must(t, `INSERT INTO t VALUES ($1, $2)`, i, fmt.Sprint("s", i))
	}
	for round := range 5 {
		got, err := All(t.Context(), db, Value[string], `SELECT s FROM t WHERE x < $1 ORDER BY x`, round)
		if err != nil || len(got) != round {
			t.Fatalf("round %d: %v %v", round, got, err)
		}
		var one string
		if err := db.QueryRowContext(t.Context(), `SELECT s FROM t WHERE x >= $1`, round).Scan(&one); err != nil ||
			one != fmt.Sprint("s", round) { // of which the other rows are not read
			t.Fatalf("round %d: %q %v", round, one, err)
		}
		if _, err := db.ExecContext(t.Context(), `INSERT INTO t VALUES ($1, 'again')`, 3); err == nil {
			t.Fatal("a row is there twice")
		}
		if err := db.QueryRowContext(t.Context(), `SELECT s FROM t WHERE x = $1`, -1).Scan(&one); !errors.Is(err,
			sql.ErrNoRows) {
			t.Fatal(err)
		}
	}
	db.looked(t, func(s *statements) {
		if len(s.kept) != 5 || len(s.once) != 0 {
			t.Errorf("%d are kept, %d came once", len(s.kept), len(s.once))
		}
		for _, k := range s.kept {
			if k.busy {
				t.Errorf("%s is being read by nobody", k.text)
			}
		}
	})
	const all = `SELECT * FROM t WHERE x = 2`
	for range 3 {
		if rows, err := db.QueryContext(t.Context(), all); err != nil || rows.Close() != nil {
			t.Fatal(err)
		}
	}
	db.must(t, `ALTER TABLE t ADD COLUMN more INTEGER DEFAULT 7`)
	var x, more int
	var text string
	if err := db.QueryRowContext(t.Context(), all).Scan(&x, &text, &more); err != nil || more != 7 {
		t.Fatal(x, text, more, err)
	}
	db.must(t, `DROP TABLE t`) // no kept one holds it
	if _, err := db.ExecContext(t.Context(), `INSERT INTO t VALUES ($1, $2)`, 1, "x"); err == nil {
		t.Fatal("a row was written to a table that is not there")
	}
	db.must(t, `CREATE TABLE t (x INTEGER PRIMARY KEY, s TEXT)`)
	db.must(t, `INSERT INTO t VALUES ($1, $2)`, 1, "x")
	db.must(t, `VACUUM`)
}

// A statement can be asked for again while its rows are being read.
func TestStatements_OneThatIsBeingReadIsNotDisturbed(t *testing.T) {
	db := keeping(t)
	db.must(t, `CREATE TABLE t (x INTEGER PRIMARY KEY)`)
	for i := range 20 {
		db.must(t, `INSERT INTO t VALUES ($1)`, i)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	const query = `SELECT x FROM t WHERE x >= $1 ORDER BY x`
	sum := func(from int, inner func()) (n int) {
		rows, err := tx.QueryContext(t.Context(), query, from)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var x int
			if err := rows.Scan(&x); err != nil {
				t.Fatal(err)
			}
			if n += x; inner != nil {
				inner()
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 4 {
		if n := sum(0, func() {
			if n := sum(18, nil); n != 37 {
				t.Fatalf("the inner sum is %d", n)
			}
		}); n != 190 {
			t.Fatalf("the sum is %d", n)
		}
	}
}

// Nobody waits any more: the statement serves the next.
func TestStatements_OneThatWasInterruptedServesTheNext(t *testing.T) {
	db := keeping(t)
	const query = `WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < $1) SELECT count(*) FROM n`
	count := func(ctx context.Context, most int) (n int, err error) {
		return n, db.QueryRowContext(ctx, query, most).Scan(&n)
	}
	for range 3 {
		if n, err := count(t.Context(), 10); n != 10 || err != nil {
			t.Fatal(n, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := count(ctx, 1_000_000_000); err == nil {
		t.Fatal("it was not interrupted")
	}
	for range 3 {
		if n, err := count(t.Context(), 10); n != 10 || err != nil {
			t.Fatal(n, err)
		}
	}
}

// Texts that are made for one occasion are not kept, nor are more than a connection
// has room for; those that are asked for last stay.
func TestStatements_AreBounded(t *testing.T) {
	db := keeping(t)
	one := func(query string) {
		t.Helper()
		var n int
		if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		one(fmt.Sprint("SELECT ", i))
	}
	db.looked(t, func(s *statements) {
		if len(s.kept) != 0 || len(s.once) != onceMost {
			t.Errorf("%d are kept, %d came once", len(s.kept), len(s.once))
		}
	})
	for i := range 100 {
		for range 3 {
			one(fmt.Sprint("SELECT ", i))
		}
	}
	db.looked(t, func(s *statements) {
		if len(s.kept) != statementsMost || s.kept[0].text != "SELECT 99" {
			t.Errorf("%d are kept, the first is %q", len(s.kept), s.kept[0].text)
		}
	})
	for text, want := range map[string]bool{"SELECT 1": true, "\n\tinsert into t values (1)": true,
		"WITH n AS (SELECT 1) DELETE FROM t": true, "PRAGMA page_count": false, "SELECT 1; SELECT 2": false, "VACUUM": false,
		"CREATE TABLE t (x)": false, "BEGIN": false, "": false, "SELECT " + strings.Repeat("1", textMost): false} {
		if repeatable(text) != want {
			t.Errorf("%.40q may be kept: %t", text, !want)
		}
	}
}

// BenchmarkSmallQuery asks what those do that look for work; with a semicolon no
// statement is kept.
func BenchmarkSmallQuery(b *testing.B) {
	db := keeping(b)
	db.must(b, `CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT, lease INTEGER, worker TEXT)`)
	db.must(b, `CREATE INDEX job_state ON job (state, lease)`)
	for name, end := range map[string]string{"kept": "", "anew": ";"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var id int
				err := db.QueryRowContext(b.Context(), `SELECT id FROM job WHERE state = $1 OR state = $2 AND lease < $3
					ORDER BY id LIMIT 1`+end, "waiting", "running", 7).Scan(&id)
				if !errors.Is(err, sql.ErrNoRows) {
					b.Fatal(err)
				}
			}
		})
	}
}
