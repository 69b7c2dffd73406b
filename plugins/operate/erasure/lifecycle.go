package erasure

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle is the store of erasures. Receipts are kept for good, without the
// names of devices, which each forgets with its own first scrubbing.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "erasures", Tables: []string{"erasure"},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := OpenStore(ctx, db)
			return err
		},
	}.Kind()
}
