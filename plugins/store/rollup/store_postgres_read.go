package rollup

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// rollerLock is the advisory lock of the transaction that rolls hours. Advisory locks belong to
// the whole database, so a hash of the schema that has the tables is the second part of the key.
const rollerLock = 7341128

func (t *postgresTx) lockRoller(ctx context.Context) (ok bool, err error) {
	err = t.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema()))`, int32(rollerLock)).Scan(&ok)
	return ok, err
}

func (t *postgresTx) unclosed(ctx context.Context) ([]hourInfo, error) {
	rows, err := t.Query(ctx, `SELECT extract(epoch FROM hour)::bigint, state, extract(epoch FROM opened_at)::bigint, extract(epoch FROM rolled_at)::bigint
		FROM rollup_hour WHERE state <> $1 ORDER BY hour`, hourClosed)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[hourInfo])
}

func (t *postgresTx) setHour(ctx context.Context, hour int64, from, to hourState, rolledAt time.Time) (bool, error) {
	tag, err := t.Exec(ctx, `UPDATE rollup_hour SET state = $3, rolled_at = $4 WHERE hour = $1 AND state = $2`, at(hour),
		from, to, rolledAt)
	return tag.RowsAffected() == 1, err
}

func (t *postgresTx) keys(ctx context.Context, query string, args ...any) ([]Key, error) {
	rows, err := t.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Key])
}

func (t *postgresTx) devices(ctx context.Context, hour int64) ([]Key, error) {
	return t.keys(ctx, `SELECT DISTINCT fleet, device_id, $3::bigint FROM rollup_window_1m
		WHERE ledger_state IN (0, 1, 2) AND bucket >= $1 AND bucket < $2 ORDER BY 1, 2`,
		at(hour), at(hour+byHour.Width), hour)
}

func (t *postgresTx) marks(ctx context.Context, n int) ([]Key, error) {
	return t.keys(ctx, `SELECT fleet, device_id, extract(epoch FROM hour)::bigint FROM rollup_mark ORDER BY fleet, device_id, hour LIMIT $1`, n)
}

func (t *postgresTx) takeMarks(ctx context.Context, n int) ([]Key, error) {
	keys, err := t.keys(ctx, `WITH m AS (SELECT fleet, device_id, hour FROM rollup_mark ORDER BY 1, 2, 3 LIMIT $1 FOR UPDATE)
		DELETE FROM rollup_mark r USING m WHERE r.fleet = m.fleet AND r.device_id = m.device_id AND r.hour = m.hour
		RETURNING r.fleet, r.device_id, extract(epoch FROM r.hour)::bigint`, n)
	slices.SortFunc(keys, Key.compare)
	return keys, err
}

const pgRowColumns = `fleet, device_id, bucket, metrics, stats, detail`

// each passes the rows of a query that selects pgRowColumns to fn.
func (t *postgresTx) each(ctx context.Context, fn func(*windowRow) error, query string, args ...any) error {
	rows, err := t.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var bucket time.Time
	var stats []float64
	for rows.Next() {
		r := &windowRow{}
		var names []string
		var detail []byte
		if err := rows.Scan(&r.Fleet, &r.Device, &bucket, &names, &stats, &detail); err != nil {
			return err
		}
		r.Bucket = bucket.Unix()
		if err := r.decode(names, stats, detail, nil); err != nil {
			return err
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t *postgresTx) spans(ctx context.Context, res resolution, keys []Key, width int64,
	fn func(*windowRow) error) error {
	fleets, devices, buckets := columns(keys)
	return t.each(ctx, fn, `SELECT w.* FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k(fleet, device_id, bucket)
		CROSS JOIN LATERAL (SELECT `+pgRowColumns+` FROM `+res.table+` w WHERE w.fleet = k.fleet AND w.device_id = k.device_id
			AND w.bucket >= k.bucket AND w.bucket < k.bucket + $4 * interval '1 second' OFFSET 0) w`, fleets, devices, buckets, width)
}

func (t *postgresTx) replace(ctx context.Context, res resolution, rows []*windowRow, now time.Time) error {
	if err := t.p.prepare(ctx, res, rows); err != nil {
		return err
	}
	w := t.p.writers.Get().(*copyWriter)
	defer t.p.writers.Put(w)
	w.begin()
	for _, r := range rows {
		w.coarse(r, now)
	}
	w.end()
	if _, err := t.Exec(ctx, coarseStage); err != nil {
		return err
	}
	if _, err := t.Exec(ctx, `DELETE FROM rollup_stage`); err != nil { // one transaction replaces hours and then days
		return err
	}
	if err := t.copyInto(ctx, coarseStage, "rollup_stage", w); err != nil {
		return err
	}
	_, err := t.Exec(ctx, `INSERT INTO `+res.table+` (fleet, device_id, bucket, updated_at, metrics, stats, detail)
		SELECT * FROM rollup_stage ON CONFLICT (fleet, device_id, bucket) DO UPDATE
		SET updated_at = excluded.updated_at, metrics = excluded.metrics, stats = excluded.stats, detail = excluded.detail`)
	return err
}

func (t *postgresTx) scan(ctx context.Context, res resolution, s span, fn func(*windowRow) error) error {
	query, args := `SELECT `+pgRowColumns+` FROM `+res.table+` WHERE fleet = $1 AND bucket >= $2 AND bucket < $3`,
		[]any{s.Fleet, at(s.From), at(s.To)}
	switch {
	case s.Devices != nil:
		query, args = query+` AND device_id = ANY($4)`, append(args, s.Devices)
	case res == byMinute:
		query += ` AND ledger_state IN (0, 1, 2)` // always true; with it, the index by bucket can be used
	case s.High != "":
		query, args = query+` AND device_id >= $4 AND device_id <= $5`, append(args, s.Low, s.High)
	}
	return t.each(ctx, fn, query, args...)
}

func (t *postgresTx) newest(ctx context.Context, fleet, device string, n int) (out []*windowRow, err error) {
	err = t.each(ctx, func(r *windowRow) error { out = append(out, r); return nil },
		`SELECT `+pgRowColumns+` FROM rollup_window_1m WHERE fleet = $1 AND device_id = $2 ORDER BY bucket DESC LIMIT $3`,
		fleet, device, n)
	return out, err
}

func (t *postgresTx) unsettled(ctx context.Context, s span) (open []int64, marked []Key, err error) {
	from, to := at(byHour.floor(s.From)), at(s.To)
	hours, err := t.keys(ctx, `SELECT '', '', extract(epoch FROM hour)::bigint FROM rollup_hour WHERE state <> $1 AND hour >= $2 AND hour < $3`, hourClosed, from, to)
	if err != nil {
		return nil, nil, err
	}
	for _, h := range hours {
		open = append(open, h.Bucket)
	}
	query, args := `SELECT fleet, device_id, extract(epoch FROM hour)::bigint FROM rollup_mark WHERE fleet = $1 AND hour >= $2 AND hour < $3`, []any{s.Fleet, from, to}
	if s.Devices != nil {
		query, args = query+` AND device_id = ANY($4)`, append(args, s.Devices)
	}
	marked, err = t.keys(ctx, query, args...)
	return open, marked, err
}
