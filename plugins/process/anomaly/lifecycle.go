package anomaly

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle is the store of baselines. They are kept while their devices report,
// and until these are erased.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "baselines", Tables: []string{"anomaly_device"},
		Prepare: func(ctx context.Context, db *sqldb.DB) error { return db.Migrate(ctx, "anomaly", migrations()) },
		Count:   count, Erase: erase,
	}.Kind()
}
