package plugins

import (
	"context"
	"time"

	"weir/internal/control/auditlog"
	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/plugins/notify/alert"
	"weir/plugins/operate/replay"
	"weir/plugins/operate/retention"
	"weir/plugins/store/deadletter"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
)

// maintainStores lets the room maintain keep the stores of others in order.
func maintainStores() retention.Stores {
	return retention.Stores{
		Raw: raw.Table(), DeadLetters: deadletter.Table(),
		Rollups:  expireRollups,
		AuditLog: auditlog.Expire, Alerts: alert.Expire, Replays: replay.Expire, Outcomes: deadletter.Expire,
	}
}

func expireRollups(ctx context.Context, db *sqldb.DB, p expire.Pass, rollups, ledgers time.Duration) ([]retention.Part, error) {
	done, err := rollup.Expire(ctx, db, p, rollups, ledgers)
	return []retention.Part{
		{Name: "rollups_1m", Removed: done.Minutes}, {Name: "rollups_1h", Removed: done.Hours},
		{Name: "rollups_1d", Removed: done.Days}, {Name: "ledgers", Removed: done.Ledgers},
	}, err
}
