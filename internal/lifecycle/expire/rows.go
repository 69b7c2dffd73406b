package expire

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
)

// Rows are the rows of a SQL table that go when they are old.
type Rows struct {
	Table string
	Key   string // the columns of the primary key
	Old   string // the condition of old rows; $1 is the time before which they go, in microseconds since 1970
	Fleet string // an expression for whose a row is; "" when rows don't tell
	// With are deletions that go with the rows, in the same transaction, before
	// them: `DELETE … WHERE x IN (`, closed with the rows' keys.
	With []string
}

// chunk bounds a transaction, which other writers wait for.
const chunk = 1000

// Expire deletes the old rows, but those of held fleets; rows that belong to
// nobody, or to all, stay while anyone is held. It may be stopped anywhere and
// run again.
func (r Rows) Expire(ctx context.Context, db *sqldb.DB, p Pass, before time.Time) (removed Removed, err error) {
	held, err := p.Fleets(ctx)
	if err != nil {
		return removed, err
	}
	where, args := r.where(held, before)
	if len(held) > 0 {
		old := int64(0)
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM `+r.Table+` WHERE `+r.Old,
			before.UnixMicro()).Scan(&old); err != nil {
			return removed, fmt.Errorf("counting the held rows of %s: %w", r.Table, err)
		}
		going, err := r.count(ctx, db, where, args)
		if err != nil {
			return removed, err
		}
		removed.Kept = old - going
	}
	if p.DryRun {
		removed.Rows, err = r.count(ctx, db, where, args)
		return removed, err
	}
	for {
		n, err := r.some(ctx, db, where, args)
		if err != nil {
			return removed, fmt.Errorf("deleting old rows of %s: %w", r.Table, err)
		}
		if removed.Rows += n; n < chunk {
			return removed, nil
		}
		if held, err = p.Fleets(ctx); err != nil {
			return removed, err
		}
		where, args = r.where(held, before)
	}
}

// where is the condition of the rows that go.
func (r Rows) where(held []string, before time.Time) (string, []any) {
	args := []any{before.UnixMicro()}
	switch {
	case len(held) == 0:
		return r.Old, args
	case r.Fleet == "":
		return `1 = 0`, nil
	}
	where := r.Old + ` AND ` + r.Fleet + ` NOT IN (''`
	for _, fleet := range held {
		args = append(args, fleet)
		where += fmt.Sprintf(`, $%d`, len(args))
	}
	return where + `)`, args
}

func (r Rows) count(ctx context.Context, db *sqldb.DB, where string, args []any) (n int64, err error) {
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM `+r.Table+` WHERE `+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the old rows of %s: %w", r.Table, err)
	}
	return n, nil
}

func (r Rows) some(ctx context.Context, db *sqldb.DB, where string, args []any) (n int64, err error) {
	keys := fmt.Sprintf(`SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d`, r.Key, r.Table, where, r.Key, chunk)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for _, with := range r.With {
		if _, err := tx.ExecContext(ctx, with+keys+`)`, args...); err != nil {
			return 0, err
		}
	}
	var res sql.Result
	if res, err = tx.ExecContext(ctx, `DELETE FROM `+r.Table+` WHERE `+tuple(r.Key)+` IN (`+keys+`)`,
		args...); err != nil {
		return 0, err
	}
	if n, err = res.RowsAffected(); err != nil {
		return 0, err
	}
	return n, tx.Commit()
}

// tuple is a key as IN takes it.
func tuple(key string) string {
	if strings.Contains(key, ",") {
		return `(` + key + `)`
	}
	return key
}
