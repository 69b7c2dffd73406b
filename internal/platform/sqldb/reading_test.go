package sqldb

import (
	"os"
	"path/filepath"
	"testing"
)

// names returns what is in a folder.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestOpenReading_MakesNoFilesAndNoTables(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.db", "no/x.db"} {
		if db, err := OpenReading(t.Context(), "sqlite://"+filepath.Join(dir, name)); err == nil {
			_ = db.Close()
			t.Errorf("%s was opened, and is not there", name)
		}
	}
	if got := names(t, dir); len(got) > 0 {
		t.Fatalf("looking made %v", got)
	}
	steps := []Migration{{SQLite: `CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1)`}}
	url := "sqlite://" + filepath.Join(dir, "x.db")
	writer, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := writer.Migrate(t.Context(), "room", steps); err != nil {
		t.Fatal(err)
	}
	count := func(want int) {
		t.Helper()
		db, err := OpenReading(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Migrate(t.Context(), "room", steps); err != nil {
			t.Error(err)
		}
		if err := db.Migrate(t.Context(), "room", append(steps, steps[0])); err == nil {
			t.Error("tables of an older weir were read as if they were of this one")
		}
		n := 0
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM t`).Scan(&n); err != nil || n != want {
			t.Errorf("%d rows: %v, want %d", n, err, want)
		}
		if _, err := db.ExecContext(t.Context(), `DELETE FROM t`); err == nil {
			t.Error("a reader deleted rows")
		}
	}
	count(1)
	if _, err := writer.ExecContext(t.Context(), `INSERT INTO t VALUES (2)`); err != nil {
		t.Fatal(err)
	}
	count(2) // what is in the log of a running writer alone
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(dir, 0o700) }() // for the cleaning up
	count(2)
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("reading made %v", got)
	}
}
