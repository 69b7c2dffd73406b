package anomaly

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"weir/internal/platform/sqldb"
)

// minute is one metric's readings in one window of the rollup store.
type minute struct {
	metric string
	start  int64 // unix seconds
	lastAt int64 // of the newest reading, in microseconds
	stats  stats
}

// rollupStride is how many numbers the rollup store keeps per metric: count,
// sum, min, max, m2, p50, p95, last, offset of the last in microseconds.
const rollupStride = 9

// rollups reads the tables that the views rollup_1m and rollup_1d show: rows
// of one device and window, with the metrics packed. (The views compute their
// columns, and so cannot find a window by its time.)
type rollups struct{ db *sqldb.DB }

// ready tells whether the rollup store has its tables yet.
func (r rollups) ready(ctx context.Context) (bool, error) {
	return hasTable(ctx, r.db, "rollup_window_1m")
}

// hasTable tells whether a table or view exists.
func hasTable(ctx context.Context, db *sqldb.DB, name string) (bool, error) {
	query := `SELECT count(*) FROM sqlite_master WHERE name = $1`
	if db.Dialect == sqldb.Postgres {
		query = `SELECT count(*) FROM pg_class WHERE oid = to_regclass($1)`
	}
	n := 0
	if err := db.QueryRowContext(ctx, query, name).Scan(&n); err != nil {
		return false, fmt.Errorf("looking for table %s: %w", name, err)
	}
	return n > 0, nil
}

func (r rollups) columns() string {
	if r.db.Dialect == sqldb.Postgres {
		return `fleet, device_id, extract(epoch FROM bucket)::bigint, array_to_json(metrics)::text, array_to_json(stats)::text`
	}
	return `fleet, device_id, bucket, metrics, stats`
}

// time returns the expression for a moment given as unix seconds.
func (r rollups) time(placeholder string) string {
	if r.db.Dialect == sqldb.Postgres {
		return `to_timestamp(` + placeholder + `)`
	}
	return placeholder
}

// in returns "($2, $3, …)" for n values after those before.
func in(before, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",$%d", before+i+1)
	}
	return "(" + b.String()[1:] + ")"
}

// recent reads the minutes from (inclusive) to to (exclusive), in unix seconds,
// of some devices of a fleet.
func (r rollups) recent(ctx context.Context, fleet string, devices []string, from, to int64,
	fn func(device string, m minute)) error {
	args := []any{fleet, from, to}
	for _, d := range devices {
		args = append(args, d)
	}
	query := `SELECT ` + r.columns() + ` FROM rollup_window_1m WHERE fleet = $1 AND bucket >= ` + r.time("$2") +
		` AND bucket < ` + r.time("$3") +
		` AND device_id IN ` + in(3, len(devices)) + ` ORDER BY device_id, bucket`
	return r.each(ctx, query, args, func(_, device string, m minute) { fn(device, m) })
}

// day reads the windows of one day, of all devices.
func (r rollups) day(ctx context.Context, start int64, fn func(fleet, device string, m minute)) error {
	return r.each(ctx, `SELECT `+r.columns()+` FROM rollup_window_1d WHERE bucket = `+r.time("$1"), []any{start}, fn)
}

// since reads the first day that is known of some devices of a fleet, in unix
// seconds.
func (r rollups) since(ctx context.Context, fleet string, devices []string, fn func(device string, start int64)) error {
	args := []any{fleet}
	for _, d := range devices {
		args = append(args, d)
	}
	first := `min(bucket)`
	if r.db.Dialect == sqldb.Postgres {
		first = `extract(epoch FROM min(bucket))::bigint`
	}
	rows, err := r.db.QueryContext(ctx, `SELECT device_id, `+first+
		` FROM rollup_window_1d WHERE fleet = $1 AND device_id IN `+
		in(1, len(devices))+` GROUP BY device_id`, args...)
	if err != nil {
		return err
	}
	return scan(rows, func() error {
		var device string
		var start int64
		if err := rows.Scan(&device, &start); err != nil {
			return err
		}
		fn(device, start)
		return nil
	})
}

func (r rollups) each(ctx context.Context, query string, args []any, fn func(fleet, device string, m minute)) error {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return scan(rows, func() error {
		var fleet, device string
		var bucket int64
		var metrics, numbers []byte
		if err := rows.Scan(&fleet, &device, &bucket, &metrics, &numbers); err != nil {
			return err
		}
		var names []string
		var s []float64
		if err := errors.Join(json.Unmarshal(metrics, &names), json.Unmarshal(numbers, &s)); err != nil ||
			len(s) != rollupStride*len(names) {
			return fmt.Errorf("reading window %d of device %s: unknown format: %w", bucket, device, errors.Join(err, errFormat))
		}
		for i, name := range names {
			v := s[i*rollupStride:]
			fn(fleet, device, minute{
				metric: name, start: bucket, lastAt: bucket*1e6 + int64(v[8]), stats: stats{v[0], v[1] / v[0], v[4]},
			})
		}
		return nil
	})
}

var errFormat = errors.New("expected nine numbers a metric")

// scan calls fn for each row, and closes them.
func scan(rows *sql.Rows, fn func() error) error {
	for rows.Next() {
		if err := fn(); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}
