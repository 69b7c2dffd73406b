package sqldb

import (
	"context"
	"fmt"
)

// Migration is one step in the history of a room's tables, in each dialect. New steps are appended; a released step is
// never changed.
type Migration struct {
	SQLite   string
	Postgres string
}

// Migrate updates the tables of a room: it runs the steps that this store has not run yet, each in its own
// transaction. Processes that start together wait for each other. A crash leaves a whole number of steps.
func (db *DB) Migrate(ctx context.Context, room string, steps []Migration) error {
	if db.reading {
		return db.migrated(ctx, room, len(steps))
	}
	done, err := db.steps(ctx, room)
	if err != nil { // mostly the table does not exist yet; if it does, no write lock is needed
		if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS weir_migration (
			room TEXT NOT NULL, step INTEGER NOT NULL, PRIMARY KEY (room, step))`); err != nil && !db.exists(ctx) {
			return fmt.Errorf("migrating %s: %w", room, err)
		}
		if done, err = db.steps(ctx, room); err != nil {
			return fmt.Errorf("migrating %s: %w", room, err)
		}
	}
	if done > len(steps) {
		return fmt.Errorf("migrating %s: the store has %d steps, this weir knows %d: it was written by a newer version; "+
			"run that one", room, done, len(steps))
	}
	for n := done; n < len(steps); n++ {
		if err := db.migrateStep(ctx, room, n, steps[n]); err != nil {
			return fmt.Errorf("migrating %s, step %d: %w", room, n, err)
		}
	}
	return nil
}

// steps returns how many steps of a room the store has run.
func (db *DB) steps(ctx context.Context, room string) (n int, err error) {
	return n, db.QueryRowContext(ctx, `SELECT count(*) FROM weir_migration WHERE room = $1`, room).Scan(&n)
}

// exists handles a race of CREATE TABLE IF NOT EXISTS that PostgreSQL reports as a unique violation: another process
// has created the table.
func (db *DB) exists(ctx context.Context) bool {
	_, err := db.ExecContext(ctx, `SELECT 1 FROM weir_migration LIMIT 1`)
	return err == nil
}

func (db *DB) migrateStep(ctx context.Context, room string, n int, step Migration) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	script := step.SQLite
	if db.Dialect == Postgres {
		script = step.Postgres
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(7341127)`); err != nil {
			return err
		}
	}
	var done int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM weir_migration WHERE room = $1 AND step = $2`, room,
		n).Scan(&done); err != nil {
		return err
	}
	if done > 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, script); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO weir_migration (room, step) VALUES ($1, $2)`, room, n); err != nil {
		return err
	}
	return tx.Commit()
}
