package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/storeurl"
)

func sharedFile(t *testing.T) *DB {
	t.Helper()
	db, release, err := Shared(t.Context(), service.MockResources(), storeurl.New("sqlite",
		filepath.Join(t.TempDir(), "w.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	exec(t, db, `CREATE TABLE thing (n INTEGER PRIMARY KEY)`)
	return db
}

func begin(t *testing.T, db *DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// Somebody who writes without a pause lets another in between two of its transactions.
func TestWriters_NobodyIsPassedOverByWhoWritesWithoutAPause(t *testing.T) {
	db := sharedFile(t)
	stopped, stop := context.WithCancel(t.Context())
	defer stop()
	var committed atomic.Int64
	ended := make(chan error, 1)
	go func() {
		for stopped.Err() == nil {
			tx, err := db.BeginTx(context.Background(), nil)
			if err == nil {
				time.Sleep(2 * time.Millisecond)
				err = tx.Commit()
			}
			if err != nil {
				ended <- err
				return
			}
			committed.Add(1)
		}
		ended <- nil
	}()
	const rounds = 30
	passed := int64(0)
	for n := range rounds {
		for was := committed.Load(); committed.Load() == was; { // the other is at it
			time.Sleep(time.Millisecond)
		}
		before := committed.Load()
		tx := begin(t, db)
		passed += committed.Load() - before
		if _, err := tx.Exec(`INSERT INTO thing VALUES ($1)`, n); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if passed > 3*rounds { // one each, and what a busy machine does between a count and a wait
		t.Errorf("%d transactions of another came before %d", passed, rounds)
	}
}

// However a write ends, the next one has its turn.
func TestWriters_EveryEndGivesTheTurnBack(t *testing.T) {
	db := sharedFile(t)
	exec(t, db, `INSERT INTO thing VALUES (0)`)
	n := 0
	for name, write := range map[string]func() error{
		"commit": func() error { return begin(t, db).Commit() },
		"roll back": func() error {
			tx := begin(t, db)
			_, err := tx.Exec(`INSERT INTO thing VALUES (0)`)
			if err == nil {
				t.Error("a row is there twice")
			}
			return tx.Rollback()
		},
		"a transaction that nobody ends": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := db.BeginTx(ctx, nil)
			cancel()
			return err
		},
		"a statement that fails": func() error {
			if _, err := db.Exec(`INSERT INTO thing VALUES (0)`); err == nil {
				t.Error("a row is there twice")
			}
			return nil
		},
		"rows of a write": func() error {
			return db.QueryRow(`INSERT INTO thing VALUES (-1) RETURNING n`).Scan(new(int))
		},
		"a write that cannot be read": func() error {
			if _, err := db.Query(`INSERT INTO nothing VALUES (1) RETURNING n`); err == nil {
				t.Error("there is no such table")
			}
			return nil
		},
		"a transaction that only reads": func() error {
			tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
			if err == nil {
				err = errors.Join(tx.QueryRow(`SELECT n FROM thing`).Scan(new(int)), tx.Commit())
			}
			return err
		},
	} {
		if err := write(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		n++
		ctx, cancel := context.WithTimeout(t.Context(), busyMost/2)
		if _, err := db.ExecContext(ctx, `INSERT INTO thing VALUES ($1)`, n); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		cancel()
	}
}

// Who reads waits for nobody, and who is told to stop waits no longer.
func TestWriters_OnlyWritersWait(t *testing.T) {
	db := sharedFile(t)
	tx := begin(t, db)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := db.ExecContext(ctx, `INSERT INTO thing VALUES (1)`); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a turn, told to stop: %v", err)
	}
	read, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := errors.Join(read.QueryRow(`SELECT count(*) FROM thing`).Scan(&n), read.Commit(), tx.Commit()); err != nil {
		t.Error(err)
	}
}

// One who waits for its own end goes on in the end, and has no turn to give back.
func TestWriters_NobodyWaitsForItself(t *testing.T) {
	w := writers{make(chan struct{}, 1), time.Millisecond}
	leave, err := w.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late, err := w.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late()
	if len(w.one) != 1 {
		t.Error("the turn of another was given back")
	}
	leave()
	leave()
	if len(w.one) != 0 {
		t.Error("the turn was not given back")
	}
}
