package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"weir/internal/platform/sqldb"
)

// journalOf calls do with each entry of all journals, and replaces the entry by what do returns, unless that is nil.
func journalOf(ctx context.Context, tx interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, do func(entry []byte) ([]byte, error)) error {
	type row struct {
		at    place
		seq   int64
		entry []byte
	}
	rows, err := tx.QueryContext(ctx, `SELECT topic, part, seq, entry FROM rule_journal ORDER BY topic, part, seq`)
	if err != nil {
		return fmt.Errorf("reading the journal of rules: %w", err)
	}
	var changed []row
	for rows.Next() {
		var r row
		if err = rows.Scan(&r.at.topic, &r.at.number, &r.seq, &r.entry); err != nil {
			break
		}
		if r.entry, err = do(r.entry); err != nil {
			break
		}
		if r.entry != nil {
			changed = append(changed, r)
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("reading the journal of rules: %w", err)
	}
	for _, r := range changed {
		if _, err := tx.ExecContext(ctx, `UPDATE rule_journal SET entry = $4 WHERE topic = $1 AND part = $2 AND seq = $3`,
			r.at.topic, r.at.number, r.seq, r.entry); err != nil {
			return fmt.Errorf("writing the journal of rules: %w", err)
		}
	}
	return nil
}

// countJournaled counts the events of a fleet, or of a device, in the journals.
func countJournaled(ctx context.Context, db *sqldb.DB, fleet, device string) (n int64, err error) {
	err = journalOf(ctx, db, func(entry []byte) ([]byte, error) {
		_, more, err := without(entry, fleet, device)
		n += more
		return nil, err
	})
	return n, err
}

// foldSums writes as rows the journals that have events of a device and a rule across devices. What such a rule has
// counted stays when a device is erased. Entries lose the device's events, so counts that were only in entries would
// change; as rows they stay. n is the number of the device's events in these journals.
func foldSums(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect, fleet, device string) (n int64, err error) {
	if device == "" {
		return 0, nil // of an erased fleet all state is deleted, sums too
	}
	places, err := positions(ctx, tx)
	if err != nil {
		return 0, err
	}
	for _, at := range slices.SortedFunc(maps.Keys(places), place.compare) {
		j, err := readJournal(ctx, tx, at)
		if err != nil {
			return n, err
		}
		has, err := summed(j, fleet, device)
		if err == nil && has > 0 {
			n += has
			err = fold(ctx, tx, dialect, nil, at, places[at], j)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// summed returns the number of a device's events in the entries of a journal that has a rule across devices, else 0.
func summed(j journal, fleet, device string) (n int64, err error) {
	if len(j.entries) == 0 {
		return 0, nil
	}
	set, err := j.set()
	if err != nil {
		return 0, err
	}
	if !slices.ContainsFunc(set.Rules, func(r *Rule) bool { return r.across }) {
		return 0, nil
	}
	for _, one := range j.entries {
		_, more, err := without(one.entry, fleet, device)
		if n += more; err != nil {
			return n, err
		}
	}
	return n, nil
}
