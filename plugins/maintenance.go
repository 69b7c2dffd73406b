package plugins

import (
	"context"
	"time"

	"weir/plugins/act"
	"weir/plugins/alert"
	"weir/plugins/deadletter"
	"weir/plugins/keep"
	"weir/plugins/maintain"
	"weir/plugins/raw"
	"weir/plugins/replay"
	"weir/plugins/rollup"
	"weir/plugins/sqldb"
)

// maintainStores lets the room maintain keep the stores of others in order.
func maintainStores() maintain.Stores {
	return maintain.Stores{
		Raw: raw.Table(), DeadLetters: deadletter.Table(),
		Rollups:  expireRollups,
		AuditLog: act.Expire, Alerts: alert.Expire, Replays: replay.Expire, Outcomes: deadletter.Expire,
	}
}

func expireRollups(ctx context.Context, db *sqldb.DB, p keep.Pass, rollups, ledgers time.Duration) ([]maintain.Part, error) {
	done, err := rollup.Expire(ctx, db, p, rollups, ledgers)
	return []maintain.Part{
		{Name: "rollups_1m", Removed: done.Minutes}, {Name: "rollups_1h", Removed: done.Hours},
		{Name: "rollups_1d", Removed: done.Days}, {Name: "ledgers", Removed: done.Ledgers},
	}, err
}
