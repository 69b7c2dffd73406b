package identity

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weir/internal/platform/rawjson"
	"weir/internal/platform/sqldb"
)

// pair is a subject seen on a device.
type pair struct{ subject, device string }

func (p pair) before(o pair) int {
	return cmp.Or(strings.Compare(p.subject, o.subject), strings.Compare(p.device, o.device))
}

// pairsMost is the maximum number of pairs in a statement.
const pairsMost = 4000

// told returns a table expression of pairs and its parameters (from $2 on; $1 is the fleet). The text does not depend
// on the number of pairs, so that connections can reuse the prepared statement. at is the earliest receive time of
// each pair in microseconds since 1970.
func told(dialect sqldb.Dialect, fleet string, pairs []pair, at map[pair]int64) (table string, args []any) {
	if dialect == sqldb.Postgres {
		subjects, devices, times := make([]string, len(pairs)), make([]string, len(pairs)), make([]int64, len(pairs))
		for i, p := range pairs {
			subjects[i], devices[i], times[i] = p.subject, p.device, at[p]
		}
		return `(SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[]) AS t (subject, device, at))`,
			[]any{fleet, subjects, devices, times}
	}
	list := []byte{'['}
	for i, p := range pairs {
		if i > 0 {
			list = append(list, ',')
		}
		list = rawjson.AppendString(append(list, '['), p.subject)
		list = rawjson.AppendString(append(list, ','), p.device)
		list = append(strconv.AppendInt(append(list, ','), at[p], 10), ']')
	}
	return `(SELECT value->>0 AS subject, value->>1 AS device, value->>2 AS at FROM json_each($2))`,
		[]any{fleet, string(append(list, ']'))}
}

// leaveKnown removes the pairs that are stored already.
func (n *news) leaveKnown(ctx context.Context, db *sqldb.DB, fleet string) error {
	for pairs := range slices.Chunk(slices.Collect(maps.Keys(n.pairs)), pairsMost) {
		query, args := seenPairs(db.Dialect, fleet, pairs)
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

// seenPairs returns a query for which of the pairs are stored. It reads only those, however many devices a subject
// has.
func seenPairs(dialect sqldb.Dialect, fleet string, pairs []pair) (query string, args []any) {
	table, args := told(dialect, fleet, pairs, nil)
	return `SELECT d.subject, d.device_id FROM ` + table + ` told CROSS JOIN identity_device d
		WHERE d.fleet = $1 AND d.subject = told.subject AND d.device_id = told.device`, args
}

// writePairs inserts the pairs that are not stored yet and returns their number.
func (n *news) writePairs(ctx context.Context, tx *sql.Tx, dialect sqldb.Dialect, fleet string) (kept int, err error) {
	sorted := slices.SortedFunc(maps.Keys(n.pairs), pair.before) // one order for all writers: no deadlocks
	for pairs := range slices.Chunk(sorted, pairsMost) {
		table, args := told(dialect, fleet, pairs, n.pairs)
		res, err := tx.ExecContext(ctx, `INSERT INTO identity_device (fleet, subject, device_id, recorded_at)
			SELECT CAST($1 AS TEXT), subject, device, at FROM `+table+` told WHERE true
			ON CONFLICT (fleet, subject, device_id) DO NOTHING`, args...)
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
