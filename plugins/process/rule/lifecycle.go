package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/expire"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// The kinds under which an erasure counts what it deletes.
const (
	countState   = "rule_keys"
	countJournal = "rule_journal"
	countResults = "rule_results"
)

// Lifecycle returns the store of rules: the state of their keys, which the time of events deletes, and their results,
// which retention deletes.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "rules", Tables: []string{"rule_state", "rule_journal", "rule_result", "rule_furthest"},
		Keep: lifecycle.Keep{Place: lifecycle.Control, Field: "keep_rule_results", Default: "2160h",
			Description: "How long results of rules are kept, from when they were told."},
		Prepare: migrate, Expire: expireResults, Count: count, Erase: erase,
	}.Kind()
}

// expireResults deletes results that were recorded before a time, and then the sums whose newest result was: so a
// result that is summed has its sum as long as it is there.
func expireResults(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	if err := migrate(ctx, db); err != nil {
		return expire.Removed{}, err
	}
	var removed expire.Removed
	if err := thinSums(ctx, db, p, before); err != nil {
		return removed, err
	}
	for _, rows := range []expire.Rows{
		{Table: "rule_result", Key: "id, revision", Old: "recorded_at < $1", Fleet: "fleet"},
		{Table: "rule_furthest", Key: "fleet, rule, hour, topic, part", Old: "told_at < $1", Fleet: "fleet"},
	} {
		gone, err := rows.Expire(ctx, db, p, before)
		if removed.Add(gone); err != nil {
			return removed, err
		}
	}
	return removed, nil
}

const ofTarget = ` WHERE fleet = $1 AND ($2 = '' OR device_id = $2)`

func count(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	var keys, results int64
	err := errors.Join(migrate(ctx, db),
		db.QueryRowContext(ctx, `SELECT count(*) FROM rule_state`+ofTarget+` AND length(state) > 0`, fleet,
			device).Scan(&keys),
		db.QueryRowContext(ctx, `SELECT count(*) FROM rule_result`+ofTarget, fleet, device).Scan(&results))
	var events, hours int64
	if err == nil {
		events, err = countJournaled(ctx, db, fleet, device)
	}
	if err == nil {
		hours, err = countHours(ctx, db, fleet, device)
	}
	if err != nil {
		return nil, fmt.Errorf("counting what rules keep: %w", err)
	}
	return map[string]int64{countState: keys, countJournal: events, countResults: results, countSums: hours}, nil
}

// erase deletes the state and results of a device, or of a fleet if the target has no device. A key is of one device,
// so that its state goes as a whole. Of sums across devices another store takes what names it (sketches.go), and the
// rest of what they have counted stays. Sums of funnels that have counted the device are made anew. When erase returns
// nil, this is durable; after a crash, it can be called again.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	if err := migrate(ctx, db); err != nil {
		return err
	}
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error { return eraseRows(ctx, tx, db.Dialect, t) })
	if err == nil {
		err = remakeSums(ctx, db, t.Fleet)
	}
	if err != nil {
		return fmt.Errorf("erasing what rules keep: %w", err)
	}
	return nil
}

func eraseRows(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect, t tombstone.Target) error {
	if dialect == sqldb.Postgres { // in the order of place.compare, as batches lock them: else the two may deadlock
		if _, err := tx.ExecContext(ctx, `SELECT 1 FROM rule_position ORDER BY topic COLLATE "C", part
			FOR UPDATE`); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE rule_position SET version = version + 1`); err != nil {
		return err
	}
	if err := foldImages(ctx, tx, dialect); err != nil {
		return err
	}
	events, err := foldSums(ctx, tx, dialect, t.Fleet, t.Device)
	if err != nil {
		return err
	}
	keys, err := dropState(ctx, tx, ofTarget, t.Fleet, t.Device)
	if err != nil {
		return err
	}
	if err := tombstone.Add(ctx, tx, t.Job, countState, keys); err != nil {
		return err
	}
	if err := journalOf(ctx, tx, func(entry []byte) ([]byte, error) {
		rest, n, err := without(entry, t.Fleet, t.Device)
		events += n
		return rest, err
	}); err != nil {
		return err
	}
	if err := tombstone.Add(ctx, tx, t.Job, countJournal, events); err != nil {
		return err
	}
	return eraseResults(ctx, tx, t)
}
