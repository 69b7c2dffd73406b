package tombstone

import (
	"context"
	"database/sql"
)

// Delete deletes rows, and notes under a job how many there were, in one
// transaction: a crash neither forgets a number nor counts it twice.
func Delete(ctx context.Context, tx *sql.Tx, job, what, query string, args ...any) error {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	return Add(ctx, tx, job, what, n)
}
