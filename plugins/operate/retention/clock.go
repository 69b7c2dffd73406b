package retention

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// A clock that is wrong by years, as after a battery died, would delete
// everything. So one that is far ahead of the last run is not believed for a day,
// which people have to set it right; after a pause that long, the day is no loss.
const (
	jumpMost = 7 * 24 * time.Hour
	doubt    = 24 * time.Hour
)

// believe returns an error while the clock on the wall is in doubt.
func believe(ctx context.Context, db *sqldb.DB, now time.Time) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("checking the clock: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	var seen, doubted int64              // the last run's time, and until when it was not believed
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
