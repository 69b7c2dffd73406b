package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"weir/internal/control/auditlog"
	"weir/internal/platform/sqldb"
)

// recorded writes an act of this command to the audit log of the control store and returns failure, the act's own
// error. If only the entry cannot be written, the act stands and recorded returns that error.
func recorded(ctx context.Context, db *sqldb.DB, command string, detail map[string]any, failure error) error {
	if failure != nil {
		if detail == nil {
			detail = map[string]any{}
		}
		detail["detail"] = auditlog.Text(failure.Error())
	}
	ctx = context.WithoutCancel(ctx)
	if err := auditlog.Record(ctx, db, auditlog.Local(command, detail, failure)); err != nil {
		return errors.Join(failure, fmt.Errorf("the act is not in the audit log: %w", err))
	}
	return failure
}

// recordedAt is recorded for a store given by URL. Stores that are not SQL have no audit log, and an API writes its
// own: for these it only returns failure.
func recordedAt(ctx context.Context, url, command string, detail map[string]any, failure error) error {
	if !strings.HasPrefix(url, "sqlite://") && !strings.HasPrefix(url, "postgres") {
		return failure
	}
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return errors.Join(failure, fmt.Errorf("the act is not in the audit log: %w", err))
	}
	defer func() { _ = db.Close() }() // the entry is committed
	return recorded(ctx, db, command, detail, failure)
}
