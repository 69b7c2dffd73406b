package rollup

import (
	"context"
	"fmt"
)

// Conditions for old rows. The index of minutes begins with the state of the ledger and ends with
// the fleet, so counting reads only the index, except for ledgers.
const (
	oldWindows = `bucket < $1`
	oldMinutes = `ledger_state IN (0, 1, 2) AND bucket < $1`
	oldLedgers = `ledger_state IN (0, 2) AND bucket < $1 AND updated_at < $1` // complete, partial
)

// old returns the table that has a part, and the condition for rows of which it is old; $1 is the
// cutoff.
func (w part) old() (table, where string) {
	switch w {
	case ledgers:
		return byMinute.table, oldLedgers
	case part(byMinute.Name):
		return byMinute.table, oldMinutes
	case part(byHour.Name):
		return byHour.table, oldWindows
	}
	return byDay.table, oldWindows
}

// fleetsIn returns an SQLite condition for rows of the fleets or, if but is true, of all others,
// and args with its parameters appended. Without fleets it is true for all rows.
func fleetsIn(fleets []string, but bool, args []any) (string, []any) {
	if len(fleets) == 0 {
		return ``, args
	}
	where := ` AND fleet IN (`
	if but {
		where = ` AND fleet NOT IN (`
	}
	for i, fleet := range fleets {
		if i > 0 {
			where += `, `
		}
		args = append(args, fleet)
		where += fmt.Sprintf(`$%d`, len(args))
	}
	return where + `)`, args
}

func (t *sqliteTx) countOld(ctx context.Context, what part, cutoff, from int64, fleets []string, but bool) (n int64,
	err error) {
	table, where := what.old()
	if from > 0 {
		where += fmt.Sprintf(` AND bucket >= %d`, from)
	}
	in, args := fleetsIn(fleets, but, []any{cutoff})
	err = t.tx.QueryRowContext(ctx, `SELECT count(*) FROM `+table+` WHERE `+where+in, args...).Scan(&n)
	return n, err
}

func (t *sqliteTx) drop(ctx context.Context, res resolution, cutoff int64, held []string, n int) (int64, error) {
	table, where := part(res.Name).old()
	but, args := fleetsIn(held, true, []any{cutoff})
	return t.changed(ctx, fmt.Sprintf(`DELETE FROM %[1]s WHERE rowid IN (SELECT rowid FROM %[1]s WHERE %[2]s%[3]s LIMIT %[4]d)`, table, where, but, n), args)
}

func (t *sqliteTx) seal(ctx context.Context, cutoff int64, held []string, n int) (int64, error) {
	table, where := ledgers.old()
	but, args := fleetsIn(held, true, []any{cutoff})
	return t.changed(ctx, fmt.Sprintf(`UPDATE %[1]s SET ledger = NULL, ledger_state = %[5]d, version = version + 1
		WHERE rowid IN (SELECT rowid FROM %[1]s WHERE %[2]s%[3]s LIMIT %[4]d)`, table, where, but, n, ledgerDropped), args)
}

func (t *sqliteTx) changed(ctx context.Context, query string, args []any) (int64, error) {
	res, err := t.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// fleetsAny is fleetsIn for PostgreSQL; the fleets are $2.
func fleetsAny(but bool) string {
	if but {
		return ` AND fleet <> ALL($2::text[])`
	}
	return ` AND fleet = ANY($2::text[])`
}

// texts returns list, but never nil, which would be NULL: no fleet would be unequal to it.
func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (t *postgresTx) countOld(ctx context.Context, what part, cutoff, from int64, fleets []string, but bool) (n int64,
	err error) {
	table, where := what.old()
	if from > 0 {
		where += fmt.Sprintf(` AND bucket >= to_timestamp(%d)`, from)
	}
	err = t.QueryRow(ctx, `SELECT count(*) FROM `+table+` WHERE `+where+fleetsAny(but), at(cutoff), texts(fleets)).Scan(&n)
	return n, err
}

func (t *postgresTx) drop(ctx context.Context, res resolution, cutoff int64, held []string, n int) (int64, error) {
	table, where := part(res.Name).old()
	tag, err := t.Exec(ctx, fmt.Sprintf(`WITH old AS (SELECT fleet, device_id, bucket FROM %[1]s WHERE %[2]s%[3]s LIMIT %[4]d)
		DELETE FROM %[1]s w USING old WHERE w.fleet = old.fleet AND w.device_id = old.device_id AND w.bucket = old.bucket AND w.bucket < $1`,
		table, where, fleetsAny(true), n), at(cutoff), texts(held))
	return tag.RowsAffected(), err
}

func (t *postgresTx) seal(ctx context.Context, cutoff int64, held []string, n int) (int64, error) {
	// Make the planner look up the n rows by their key.
	if _, err := t.Exec(ctx, `SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off`); err != nil {
		return 0, err
	}
	table, where := ledgers.old()
	tag, err := t.Exec(ctx, fmt.Sprintf(`WITH old AS (SELECT fleet, device_id, bucket FROM %[1]s WHERE %[2]s%[3]s LIMIT %[4]d)
		UPDATE %[1]s w SET ledger = NULL, ledger_state = %[5]d, version = version + 1
		FROM old WHERE w.fleet = old.fleet AND w.device_id = old.device_id AND w.bucket = old.bucket AND w.updated_at < $1`,
		table, where+` AND updated_at < `+oldestEntry, fleetsAny(true), n, ledgerDropped), at(cutoff), texts(held))
	return tag.RowsAffected(), err
}
