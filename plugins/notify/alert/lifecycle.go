package alert

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle declares the store of alerts, including notices and deliveries.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "alerts", Tables: []string{"alert", "alert_notice", "alert_delivery"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_alerts", Default: "2160h",
			Description: "How long resolved alerts are kept, and what was sent of them."},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := openStore(ctx, db, defaultPolicy())
			return err
		},
		Expire: expireAlerts, Count: count, Erase: erase,
	}.Kind()
}
