package replay

import (
	"context"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// expireJobs deletes the jobs that ended before a time. A job of all fleets stays
// while any is held.
func expireJobs(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	if _, err := OpenStore(ctx, db); err != nil {
		return expire.Removed{}, err
	}
	fleet := `coalesce(json_extract(spec, '$.fleet'), '')`
	if db.Dialect == sqldb.Postgres {
		fleet = `coalesce(spec::json->>'fleet', '')`
	}
	return expire.Rows{Table: "replay_job", Key: "id", Fleet: fleet,
		Old: `state IN ('done', 'failed', 'cancelled') AND ended_at > 0 AND ended_at < $1`}.Expire(ctx, db, p, before)
}
