package tombstone

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// Queries for writers with their own transactions: the number that grows with every burial, and all tombstones.
const (
	SeqQuery    = `SELECT coalesce(max(seq), 0) FROM erased`
	StonesQuery = `SELECT fleet, subject, until FROM erased`
)

// lock is the PostgreSQL advisory lock of burials. A writer holds it shared during its transaction, a burial
// exclusively: a burial waits for writers that do not know the tombstone yet, and later writers see it. SQLite has
// one writer at a time and needs no lock.
const lock = 7341131

// SharedLock is the first statement of a writer's transaction in PostgreSQL.
const SharedLock = `SELECT pg_advisory_xact_lock_shared(7341131)`

func migrations() []sqldb.Migration {
	tables := `CREATE TABLE erased (
		fleet TEXT NOT NULL, subject TEXT NOT NULL, until BIGINT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (fleet, subject));
		CREATE INDEX erased_seq ON erased (seq);
		CREATE TABLE erased_count (
		job TEXT NOT NULL, what TEXT NOT NULL, part TEXT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (job, what, part));`
	return []sqldb.Migration{{SQLite: tables, Postgres: tables}}
}

// Migrate creates the tables of tombstones. Rooms that honour tombstones call it when they open the database.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	if err := db.Migrate(ctx, "tombstone", migrations()); err != nil {
		return fmt.Errorf("making the tables of tombstones: %w", err)
	}
	return nil
}

// Bury stores a tombstone. When it returns nil it is durable, and every transaction that honours tombstones and
// commits later has seen it. A stone that is older than the stored one of the same subject changes nothing.
func Bury(ctx context.Context, db *sqldb.DB, s Stone) error {
	return Update(ctx, db, func(tx *sql.Tx) error {
		if db.Dialect == sqldb.Postgres {
			if _, err := tx.ExecContext(ctx, fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, lock)); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO erased (fleet, subject, until, seq) VALUES ($1, $2, $3, (SELECT coalesce(max(seq), 0) + 1 FROM erased))
			ON CONFLICT (fleet, subject) DO UPDATE SET until = excluded.until, seq = excluded.seq WHERE erased.until < excluded.until`,
			s.Fleet, s.Subject, s.Until.UnixMicro())
		return err
	})
}

// Barrier waits until every transaction that honours tombstones and was open when Barrier was called has ended.
func Barrier(ctx context.Context, db *sqldb.DB) error {
	if db.Dialect != sqldb.Postgres {
		return nil // SQLite has one writer at a time
	}
	return Update(ctx, db, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, lock))
		return err
	})
}

// Load reads all tombstones of a database.
func Load(ctx context.Context, q sqldb.Querier) (*Set, error) {
	stones, err := sqldb.All(ctx, q, func(row sqldb.Row) (s Stone, err error) {
		var until int64
		err = row.Scan(&s.Fleet, &s.Subject, &until)
		s.Until = time.UnixMicro(until)
		return s, err
	}, StonesQuery)
	if err != nil {
		return nil, fmt.Errorf("reading tombstones: %w", err)
	}
	return NewSet(stones), nil
}

// Begin makes a transaction honour tombstones: it returns all present ones, and no burial commits before the
// transaction ends.
func Begin(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect) (*Set, error) {
	if dialect == sqldb.Postgres {
		if _, err := tx.ExecContext(ctx, SharedLock); err != nil {
			return nil, fmt.Errorf("reading tombstones: %w", err)
		}
	}
	return Load(ctx, tx)
}

// Update runs fn in a transaction and commits it when fn returns nil.
func Update(ctx context.Context, db *sqldb.DB, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}
