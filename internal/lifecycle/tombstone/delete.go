package tombstone

import (
	"context"
	"database/sql"
)

// Delete runs a DELETE and adds the number of rows to the job's counts, in the caller's transaction: a crash neither
// loses a count nor counts twice.
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
