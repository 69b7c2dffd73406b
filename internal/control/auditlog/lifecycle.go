package auditlog

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle is the audit log.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "audit_log", Tables: []string{"audit_log"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_audit_log", Default: "17520h",
			Description: "How long the audit log is kept, with released holds and the reports of these runs."},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := Open(ctx, db)
			return err
		},
		Expire: expireEntries, Count: countNaming, Erase: erase, People: true,
	}.Kind()
}
