package alert

import (
	"context"
	"fmt"

	"weir/internal/platform/sqldb"
)

// CountOpen tells how many alerts of a fleet are not resolved; for "", those of
// all fleets, and weir's own.
func CountOpen(ctx context.Context, db *sqldb.DB, fleet string) (n int, err error) {
	if err := db.Migrate(ctx, "alert", migrations()); err != nil {
		return 0, fmt.Errorf("counting open alerts: %w", err)
	}
	where, args := `state <> 'resolved' AND folded_into IS NULL`, []any{}
	if fleet != "" {
		where, args = where+` AND fleet = $1 AND kind = 'metric'`, append(args, fleet)
	}
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM alert WHERE `+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting open alerts: %w", err)
	}
	return n, nil
}
