package anomaly

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle returns the store of baselines. They do not expire: they are kept until their devices
// are erased.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "baselines", Tables: []string{"anomaly_device"},
		Prepare: func(ctx context.Context, db *sqldb.DB) error { return db.Migrate(ctx, "anomaly", migrations()) },
		Count:   count, Erase: erase,
	}.Kind()
}
