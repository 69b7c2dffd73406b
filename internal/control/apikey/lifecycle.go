package apikey

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle is the store of keys. Neither retention nor an erasure deletes one:
// a fleet without its keys could not send again, and a revoked one explains
// entries of the audit log. They name no device.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "api_keys", Tables: []string{"api_key"},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := Open(ctx, db)
			return err
		},
	}.Kind()
}
