package etlrun

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle declares the store of runs. Erasures leave it alone: runs count rows and name nobody.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "etl_runs", Tables: []string{"etl_run"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_audit_log"},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := Open(ctx, db)
			return err
		},
		Expire: expireRuns,
	}.Kind()
}
