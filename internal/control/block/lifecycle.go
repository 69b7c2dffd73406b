package block

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// countBlocks is what erased blocks are counted as.
const countBlocks = "subject_blocks"

// Lifecycle is the store of blocks. Those that are over are kept for as long as the
// results of rules that they come from.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "blocks", Tables: []string{"subject_block"},
		Keep:    lifecycle.Keep{Place: lifecycle.Control, Field: "keep_rule_results"},
		Prepare: lifecycle.Made(Open), Expire: expireOver, Count: count, Erase: erase,
	}.Kind()
}

func expireOver(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	return expire.Rows{Table: "subject_block", Key: "fleet, id", Old: "until < $1", Fleet: "fleet"}.Expire(ctx, db, p,
		before)
}

// A name is that of a device or of a user.
const ofName = ` WHERE fleet = $1 AND ($2 = '' OR subject = $2)`

func count(ctx context.Context, db *sqldb.DB, fleet, name string) (map[string]int64, error) {
	var n int64
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM subject_block`+ofName, fleet, name).Scan(&n); err != nil {
		return nil, fmt.Errorf("counting blocks: %w", err)
	}
	return map[string]int64{countBlocks: n}, nil
}

// erase deletes what blocks a name, or, for "", a whole fleet, and was said until
// then. It is one transaction, may be run again, and counts what it deletes once.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	err := change(ctx, db, func(tx *sql.Tx) error {
		return tombstone.Delete(ctx, tx, t.Job, countBlocks, `DELETE FROM subject_block`+ofName+` AND placed_at <= $3`,
			t.Fleet, t.Device, t.Until)
	})
	if err != nil {
		return fmt.Errorf("erasing blocks: %w", err)
	}
	return nil
}
