package replay

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle is the store of replays.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "replays", Tables: []string{"replay_job"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_replays", Default: "8760h",
			Description: "How long replays are kept after they ended."},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := OpenStore(ctx, db)
			return err
		},
		Expire: expireJobs, Count: countNaming, Erase: erase, People: true,
	}.Kind()
}
