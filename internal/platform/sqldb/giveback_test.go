package sqldb

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"weir/internal/platform/flow"
)

func sizeOf(t *testing.T, path string) (size int64) {
	t.Helper()
	for _, part := range []string{path, path + "-wal"} {
		info, err := os.Stat(part)
		if err == nil {
			size += info.Size()
		} else if !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return size
}

func TestSQLDB_WhatIsDeletedLeavesTheDisk(t *testing.T) {
	for _, made := range []string{"now", "before files could shrink"} {
		t.Run(made, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			if made != "now" {
				old, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := old.Exec(`CREATE TABLE first (x)`); err != nil {
					t.Fatal(err)
				}
				if err := old.Close(); err != nil {
					t.Fatal(err)
				}
			}
			db, err := Open(t.Context(), "sqlite://"+path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, query := range []string{`CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)`,
				`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 4000) INSERT INTO t SELECT i, randomblob(4000) FROM n`,
				`PRAGMA wal_checkpoint(TRUNCATE)`} {
				if _, err := db.ExecContext(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			full := sizeOf(t, path)
			if freed, err := db.GiveBack(t.Context()); freed != 0 || err != nil {
				t.Fatal("nothing is free, and was given back:", freed, err)
			}
			if _, err := db.ExecContext(t.Context(), `DELETE FROM t WHERE id % 10 > 0`); err != nil {
				t.Fatal(err)
			}
			line := new(flow.Line)
			line.Add(10_000) // requests wait for a core
			aside := flow.WithAside(t.Context(), line)
			if freed, err := db.GiveBack(aside); freed != 0 || err != nil {
				t.Fatal("while requests waited, space was given back:", freed, err)
			}
			line.Add(-10_000)
			freed, err := db.GiveBack(aside)
			if err != nil {
				t.Fatal(err)
			}
			if left := sizeOf(t, path); left*5 > full || freed < full*7/10 {
				t.Fatalf("%d bytes of %d are left, %d were given back", left, full, freed)
			}
			n := 0
			if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM t`).Scan(&n); err != nil || n != 400 {
				t.Fatal(n, err)
			}
		})
	}
}
