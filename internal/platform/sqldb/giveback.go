package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/flow"
)

// With less free space than this, a SQLite file is not shrunk: new rows will fill it.
const (
	freeLeast    = 256 << 10
	freeShare    = 10 // or less than a tenth of the file
	freeMost     = 64 << 20
	rewriteShare = 4 // a file without incremental vacuum is rewritten when a quarter of it is free
)

const (
	vacuumPages = 1000        // of one transaction, which writers wait for
	vacuumMost  = time.Minute // the next call goes on
)

// GiveBack returns free space in a SQLite file to the file system, if there is enough of it. freed is how much that
// was. PostgreSQL returns the space of dropped partitions by itself; the space of rows that were deleted one by one is
// reused after its autovacuum.
func (db *DB) GiveBack(ctx context.Context) (freed int64, err error) {
	if db.Dialect != SQLite {
		return 0, nil
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, fmt.Errorf("giving space back: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if freed, err = giveBack(ctx, conn); err != nil {
		return freed, fmt.Errorf("giving space back: %w", err)
	}
	return freed, nil
}

// Size returns the bytes of a SQLite file, or of a whole PostgreSQL database, including tables that are not weir's.
func (db *DB) Size(ctx context.Context) (n int64, err error) {
	query := `SELECT pg_database_size(current_database())`
	if db.Dialect == SQLite {
		query = `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
	}
	if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
		return 0, fmt.Errorf("measuring a database: %w", err)
	}
	return n, nil
}

func giveBack(ctx context.Context, conn *sql.Conn) (int64, error) {
	var size, pages, free, mode int64
	for _, p := range []struct {
		name string
		to   *int64
	}{{"page_size", &size}, {"page_count", &pages}, {"freelist_count", &free}, {"auto_vacuum", &mode}} {
		if err := conn.QueryRowContext(ctx, `PRAGMA `+p.name).Scan(p.to); err != nil {
			return 0, err
		}
	}
	const none = 0
	aside := flow.AsideOf(ctx)
	switch {
	case aside.Waiting(): // new rows fill the space meanwhile, and moving pages and the checkpoint delay all others
		return 0, nil
	case free*size < freeLeast, free*size < freeMost && free*freeShare < pages:
		return 0, nil
	case mode == none && free*rewriteShare < pages:
		return 0, nil
	case mode == none: // writers wait for this once; then the file can shrink in small steps
		if _, err := conn.ExecContext(ctx, `PRAGMA auto_vacuum = INCREMENTAL; VACUUM`); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	for left := free; mode != none && left > 0 && !aside.Waiting() && time.Since(began) < vacuumMost; {
		if err := drain(ctx, conn, fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, vacuumPages)); err != nil {
			return 0, err
		}
		was := left
		if err := conn.QueryRowContext(ctx, `PRAGMA freelist_count`).Scan(&left); err != nil {
			return 0, err
		}
		if left >= was {
			break // others free pages as fast as they are removed
		}
	}
	after := int64(0)
	if err := conn.QueryRowContext(ctx, `PRAGMA page_count`).Scan(&after); err != nil {
		return 0, err
	}
	// The file shrinks when the write-ahead log is written into it. If a reader prevents that now, the next checkpoint
	// does it.
	return max(0, pages-after) * size, drain(ctx, conn, `PRAGMA wal_checkpoint(TRUNCATE)`)
}

// drain runs a statement until its last row, and ignores the rows.
func drain(ctx context.Context, conn *sql.Conn, query string) error {
	return Each(ctx, conn, func(Row) error { return nil }, query) // some pragmas do one step for each row that is read
}
