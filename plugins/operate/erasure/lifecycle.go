package erasure

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle is the store of erasures. Receipts are kept forever, without the names of devices, which the first
// scrubbing of each erasure removes.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "erasures", Tables: []string{"erasure"},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := OpenStore(ctx, db)
			return err
		},
	}.Kind()
}
