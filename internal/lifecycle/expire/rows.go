package expire

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
)

// Rows describes the rows of a SQL table that are deleted when they are old.
type Rows struct {
	Table string
	Key   string // the columns of the primary key, separated by commas
	Old   string // condition of old rows; $1 is the cutoff, in microseconds since 1970
	Fleet string // expression for the row's fleet; "" when rows do not say
	// With are prefixes of DELETE statements, `DELETE … WHERE x IN (`, to be closed with a query of the rows' keys.
	// They run before the rows are deleted, in the same transaction.
	With []string
}

// chunk is the maximum number of rows per transaction, since other writers wait for it.
const chunk = 1000

// Expire deletes the old rows except those of held fleets. Rows without a fleet, and all rows of a table without
// fleets, stay while any fleet is held. It may be interrupted anywhere and run again.
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

// where returns the condition and arguments of the rows to delete.
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
	defer func() { _ = tx.Rollback() }() // no effect after Commit
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

// tuple returns a key as the left side of IN.
func tuple(key string) string {
	if strings.Contains(key, ",") {
		return `(` + key + `)`
	}
	return key
}
