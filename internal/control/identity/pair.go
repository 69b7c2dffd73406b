package identity

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/internal/platform/sqldb"
)

// pair is a subject that was seen on a device.
type pair struct{ subject, device string }

// pairsMost is how many pairs one statement has: each is a round trip to PostgreSQL,
// and SQLite's driver binds values in a time that grows with their square.
func pairsMost(dialect sqldb.Dialect) int {
	if dialect == sqldb.Postgres {
		return asked / 2
	}
	return 16
}

// leaveKnown leaves out the pairs that are kept.
func (n *news) leaveKnown(ctx context.Context, db *sqldb.DB, fleet string) error {
	for pairs := range slices.Chunk(slices.Collect(maps.Keys(n.pairs)), pairsMost(db.Dialect)) {
		query, args := seenPairs(fleet, pairs)
		if err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
			var p pair
			err := row.Scan(&p.subject, &p.device)
			delete(n.pairs, p)
			return err
		}, query, args...); err != nil {
			return fmt.Errorf("reading devices of subjects: %w", err)
		}
	}
	return nil
}

// seenPairs asks which of some pairs are known: for these alone, however many devices a
// subject has.
func seenPairs(fleet string, pairs []pair) (query string, args []any) {
	args = append(args, fleet)
	var values strings.Builder
	for i, p := range pairs {
		if i > 0 {
			values.WriteByte(',')
		}
		fmt.Fprintf(&values, "($%d,$%d)", 2*i+2, 2*i+3)
		args = append(args, p.subject, p.device)
	}
	return `WITH told (subject, device) AS (VALUES ` + values.String() + `)
		SELECT d.subject, d.device_id FROM told JOIN identity_device d
		ON d.fleet = $1 AND d.subject = told.subject AND d.device_id = told.device`, args
}

// writePairs keeps pairs, and leaves those as they are that are kept: it returns how
// many are new.
func (n *news) writePairs(ctx context.Context, tx *sql.Tx, fleet string, most int) (kept int, err error) {
	inOrder := func(a, b pair) int {
		return cmp.Or(strings.Compare(a.subject, b.subject), strings.Compare(a.device, b.device))
	}
	sorted := slices.SortedFunc(maps.Keys(n.pairs), inOrder) // writers that meet wait, and do not deadlock
	for pairs := range slices.Chunk(sorted, most) {
		var values strings.Builder
		args := append(make([]any, 0, 1+3*len(pairs)), fleet)
		for i, p := range pairs {
			if i > 0 {
				values.WriteByte(',')
			}
			fmt.Fprintf(&values, "($1,$%d,$%d,$%d)", 3*i+2, 3*i+3, 3*i+4)
			args = append(args, p.subject, p.device, n.pairs[p])
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO identity_device (fleet, subject, device_id, recorded_at)
			VALUES `+values.String()+` ON CONFLICT (fleet, subject, device_id) DO NOTHING`, args...)
		if err != nil {
			return kept, err
		}
		rows, err := res.RowsAffected()
		if kept += int(rows); err != nil {
			return kept, err
		}
	}
	return kept, nil
}
