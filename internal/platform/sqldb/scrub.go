package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Scrub removes the contents of deleted rows. A SQLite file is rewritten, which needs as much free disk space and
// blocks writers meanwhile, and its log is emptied. In PostgreSQL the tables are vacuumed: their free space is
// overwritten in time, and only disk encryption protects it until then. Scrub may be interrupted anywhere and run
// again.
func (db *DB) Scrub(ctx context.Context, tables ...string) error {
	if db.Dialect == Postgres {
		return db.vacuum(ctx, tables)
	}
	if _, err := db.ExecContext(ctx, `VACUUM`); err != nil {
		return fmt.Errorf("writing the database anew: %w", err)
	}
	for try := 0; ; try++ {
		var busy, frames, done int
		if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &done); err != nil {
			return fmt.Errorf("emptying the database's log: %w", err)
		}
		if busy == 0 {
			return nil
		}
		if try == 20 {
			return errors.New("emptying the database's log: readers keep it: it is tried again")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (db *DB) vacuum(ctx context.Context, tables []string) error {
	var there []string
	for _, table := range tables {
		ok := false
		if err := db.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, table).Scan(&ok); err != nil {
			return fmt.Errorf("looking for table %s: %w", table, err)
		}
		if ok {
			there = append(there, table)
		}
	}
	if len(there) == 0 {
		return nil
	}
	if _, err := db.ExecContext(ctx, `VACUUM `+strings.Join(there, ", ")); err != nil {
		return fmt.Errorf("vacuuming: %w", err)
	}
	return nil
}
