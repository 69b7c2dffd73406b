package alert

import (
	"context"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// expireAlerts deletes alerts that were resolved before a time, and notices sealed before it with their deliveries.
// Rows without a fleet, such as pipeline alerts, stay while any fleet is held.
func expireAlerts(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (removed expire.Removed,
	err error) {
	if err := db.Migrate(ctx, "alert", migrations()); err != nil {
		return removed, err
	}
	for _, rows := range []expire.Rows{
		{Table: "alert", Key: "alert_id", Old: "state = 'resolved' AND updated_at < $1", Fleet: "fleet"},
		{Table: "alert_notice", Key: "notice_id", Old: "sealed_at < $1", Fleet: "fleet",
			With: []string{`DELETE FROM alert_delivery WHERE notice_id IN (`}},
	} {
		some, err := rows.Expire(ctx, db, p, before)
		if removed.Add(some); err != nil {
			return removed, err
		}
	}
	return removed, nil
}
