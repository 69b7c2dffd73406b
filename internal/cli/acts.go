package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"weir/internal/control/auditlog"
	"weir/internal/platform/sqldb"
)

// recorded enters an act of this command in the audit log of the control store,
// however it ended, and returns how it ended. The act stands when only its entry
// fails, which is an error too.
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

// recordedAt is recorded for a store by its URL; one that is not SQL has no
// audit log, and one over HTTP keeps it itself.
func recordedAt(ctx context.Context, url, command string, detail map[string]any, failure error) error {
	if !strings.HasPrefix(url, "sqlite://") && !strings.HasPrefix(url, "postgres") {
		return failure
	}
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return errors.Join(failure, fmt.Errorf("the act is not in the audit log: %w", err))
	}
	defer func() { _ = db.Close() }() // the entry is committed before
	return recorded(ctx, db, command, detail, failure)
}
