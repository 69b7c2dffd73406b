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

// countBlocks is the name under which erasures count deleted blocks.
const countBlocks = "subject_blocks"

// Lifecycle declares the store of blocks. Blocks that ended are kept as long as the rule results they may come from.
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

// ofName selects the blocks of a device or user, or of a whole fleet when the name is "".
const ofName = ` WHERE fleet = $1 AND ($2 = '' OR subject = $2)`

func count(ctx context.Context, db *sqldb.DB, fleet, name string) (map[string]int64, error) {
	var n int64
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM subject_block`+ofName, fleet, name).Scan(&n); err != nil {
		return nil, fmt.Errorf("counting blocks: %w", err)
	}
	return map[string]int64{countBlocks: n}, nil
}

// erase deletes the blocks of a name, or of a whole fleet when the name is "", that were placed until t.Until. It is
// one transaction, may be run again, and counts what it deletes once.
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
