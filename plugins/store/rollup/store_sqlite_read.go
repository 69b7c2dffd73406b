package rollup

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
)

func (t *sqliteTx) lockRoller(context.Context) (bool, error) { return true, nil } // it has the write lock

func (t *sqliteTx) unclosed(ctx context.Context) ([]hourInfo, error) {
	return sqldb.All(ctx, t.tx, func(row sqldb.Row) (h hourInfo, err error) {
		err = row.Scan(&h.Hour, &h.State, &h.OpenedAt, &h.RolledAt)
		return h, err
	}, `SELECT hour, state, opened_at, rolled_at FROM rollup_hour WHERE state <> $1 ORDER BY hour`, int64(hourClosed))
}

func (t *sqliteTx) setHour(ctx context.Context, hour int64, from, to hourState, rolledAt time.Time) (bool, error) {
	res, err := t.tx.ExecContext(ctx, `UPDATE rollup_hour SET state = $3, rolled_at = $4 WHERE hour = $1 AND state = $2`,
		hour, int64(from), int64(to), rolledAt.Unix())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (t *sqliteTx) keys(ctx context.Context, query string, args ...any) ([]Key, error) {
	return sqldb.All(ctx, t.tx, func(row sqldb.Row) (k Key, err error) {
		err = row.Scan(&k.Fleet, &k.Device, &k.Bucket)
		return k, err
	}, query, args...)
}

func (t *sqliteTx) devices(ctx context.Context, hour int64) ([]Key, error) {
	return t.keys(ctx, `SELECT DISTINCT fleet, device_id, $1 FROM rollup_window_1m
		WHERE ledger_state IN (0, 1, 2) AND bucket >= $1 AND bucket < $2 ORDER BY 1, 2`, hour, hour+byHour.Width)
}

func (t *sqliteTx) marks(ctx context.Context, n int) ([]Key, error) {
	return t.keys(ctx, `SELECT fleet, device_id, hour FROM rollup_mark ORDER BY 1, 2, 3 LIMIT $1`, n)
}

func (t *sqliteTx) takeMarks(ctx context.Context, n int) ([]Key, error) {
	keys, err := t.marks(ctx, n)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	last := keys[len(keys)-1]
	_, err = t.tx.ExecContext(ctx, `DELETE FROM rollup_mark WHERE (fleet, device_id, hour) <= ($1, $2, $3)`, last.Fleet,
		last.Device, last.Bucket)
	return keys, err
}

// row scans a row of a query that begins with rowColumns.
func (t *sqliteTx) row(row sqldb.Row) (*windowRow, error) {
	r := &windowRow{}
	var metrics, stats, detail sql.RawBytes
	if err := row.Scan(&r.Fleet, &r.Device, &r.Bucket, &metrics, &stats, &detail); err != nil {
		return nil, err
	}
	return r, t.decode(r, metrics, stats, detail, nil)
}

const rowColumns = `SELECT fleet, device_id, bucket, metrics, stats, detail FROM `

func (t *sqliteTx) spans(ctx context.Context, res resolution, keys []Key, width int64,
	fn func(*windowRow) error) error {
	return t.each(ctx, rowColumns+res.table+` WHERE fleet = ? AND device_id = ? AND bucket >= ? AND bucket < ?`, keys,
		func(k Key) []any { return []any{k.Fleet, k.Device, k.Bucket, k.Bucket + width} },
		func(_ Key, rows *sql.Rows) error {
			r, err := t.row(rows)
			if err != nil {
				return err
			}
			return fn(r)
		})
}

func (t *sqliteTx) replace(ctx context.Context, res resolution, rows []*windowRow, now time.Time) error {
	stmt, err := t.tx.PrepareContext(ctx, `INSERT INTO `+res.table+` (fleet, device_id, bucket, updated_at, metrics, stats, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (fleet, device_id, bucket) DO UPDATE
		SET updated_at = excluded.updated_at, metrics = excluded.metrics, stats = excluded.stats, detail = excluded.detail`)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	for _, r := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		metrics, stats, detail, err := t.columns(r)
		if err != nil {
			return err
		}
		if _, err := stmt.ExecContext(unwatched(ctx), r.Fleet, r.Device, r.Bucket, now.Unix(), metrics, stats,
			detail); err != nil {
			return err
		}
	}
	return nil
}

func (t *sqliteTx) scan(ctx context.Context, res resolution, s span, fn func(*windowRow) error) error {
	table := res.table
	where, args := ` WHERE fleet = $1 AND bucket >= $2 AND bucket < $3`, []any{s.Fleet, s.From, s.To}
	switch {
	case s.Devices != nil:
		where += ` AND device_id IN (?` + strings.Repeat(`,?`, len(s.Devices)-1) + `)`
		for _, d := range s.Devices {
			args = append(args, d)
		}
	default: // all devices: by its primary key, SQLite would read all times of the fleet
		table += ` INDEXED BY ` + res.table + `_by_bucket`
		if res == byMinute {
			where += ` AND ledger_state IN (0, 1, 2)` // always true; the index begins with this column
		} else if s.High != "" {
			where, args = where+` AND device_id >= $4 AND device_id <= $5`, append(args, s.Low, s.High)
		}
	}
	return sqldb.Each(ctx, t.tx, func(row sqldb.Row) error {
		r, err := t.row(row)
		if err != nil {
			return err
		}
		return fn(r)
	}, rowColumns+table+where, args...)
}

func (t *sqliteTx) newest(ctx context.Context, fleet, device string, n int) ([]*windowRow, error) {
	return sqldb.All(ctx, t.tx, t.row, rowColumns+`rollup_window_1m WHERE fleet = $1 AND device_id = $2
		ORDER BY bucket DESC LIMIT $3`, fleet, device, n)
}

func (t *sqliteTx) unsettled(ctx context.Context, s span) (open []int64, marked []Key, err error) {
	from, to := byHour.floor(s.From), s.To
	hours, err := t.keys(ctx, `SELECT '', '', hour FROM rollup_hour WHERE state <> $1 AND hour >= $2 AND hour < $3`,
		int64(hourClosed), from, to)
	if err != nil {
		return nil, nil, err
	}
	for _, h := range hours {
		open = append(open, h.Bucket)
	}
	query, args := `SELECT fleet, device_id, hour FROM rollup_mark WHERE fleet = $1 AND hour >= $2 AND hour < $3`,
		[]any{s.Fleet, from, to}
	if s.Devices != nil {
		query += ` AND device_id IN (?` + strings.Repeat(`,?`, len(s.Devices)-1) + `)`
		for _, d := range s.Devices {
			args = append(args, d)
		}
	}
	marked, err = t.keys(ctx, query+` ORDER BY 2, 3`, args...)
	return open, marked, err
}

func (t *sqliteTx) forgetHours(ctx context.Context, cutoff int64) error {
	if _, err := t.tx.ExecContext(ctx, `DELETE FROM rollup_hour WHERE hour < $1`, cutoff); err != nil {
		return err
	}
	_, err := t.tx.ExecContext(ctx, `DELETE FROM rollup_mark WHERE hour < $1`, cutoff)
	return err
}
