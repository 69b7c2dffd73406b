package group

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle is the store of groups. People delete them.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "groups", Tables: []string{"device_group"},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := Open(ctx, db)
			return err
		},
		Count: count, Erase: erase,
	}.Kind()
}
