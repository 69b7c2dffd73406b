package hold

import (
	"context"

	"weir/internal/lifecycle"
	"weir/internal/platform/sqldb"
)

// Lifecycle is the store of holds. An erasure leaves them: they tell of a fleet
// who had it held and why, and name no device. In force, one stays for ever.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "released_holds", Tables: []string{"legal_hold"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_audit_log"},
		Prepare: func(ctx context.Context, db *sqldb.DB) error {
			_, err := Open(ctx, db)
			return err
		},
		Expire: expireReleased,
	}.Kind()
}
