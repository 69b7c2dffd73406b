package retention

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// A clock that is wrong by years, as after its battery died, would make retention delete
// everything. So a clock that is far ahead of the last run is not trusted for a day, in which
// people can set it right. If there really was no run for that long, a day more does no harm.
const (
	jumpMost = 7 * 24 * time.Hour
	doubt    = 24 * time.Hour
)

// believe returns an error while the clock is in doubt, and records the time of the run.
func believe(ctx context.Context, db *sqldb.DB, now time.Time) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("checking the clock: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	var seen, doubted int64              // time of the last run, and until when its clock was in doubt
	err = tx.QueryRowContext(ctx, `SELECT seen, doubted FROM maintain_clock WHERE id = 1`).Scan(&seen, &doubted)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("checking the clock: %w", err)
	}
	last, until := time.UnixMicro(seen), time.UnixMicro(doubted)
	switch {
	case errors.Is(err, sql.ErrNoRows) || now.Before(last.Add(-time.Hour)):
		// the first run, or one after the clock was set right
		until = time.UnixMicro(0)
	case now.Sub(last) > jumpMost:
		until = now.Add(doubt)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO maintain_clock (id, seen, doubted) VALUES (1, $1, $2)
		ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, doubted = excluded.doubted`, now.UnixMicro(), until.UnixMicro()); err != nil {
		return fmt.Errorf("checking the clock: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("checking the clock: %w", err)
	}
	if now.Before(until) {
		return fmt.Errorf("the clock has jumped ahead by more than %d days since the last run, or there was none for as "+
			"long: it says %s; "+
			"set it right if it is wrong: nothing is deleted until %s by it", int(jumpMost.Hours()/24),
			now.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	}
	return nil
}
