package anomaly

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"weir/internal/platform/sqldb"
)

// minute has one metric's readings in one window of the rollup store.
type minute struct {
	metric string
	start  int64 // unix seconds
	lastAt int64 // of the newest reading, in microseconds
	stats  stats
}

// rollupStride is how many numbers the rollup store has for each metric: count, sum, min, max, m2,
// p50, p95, last, and the offset of the last in microseconds.
const rollupStride = 9

// rollups reads the tables behind the views rollup_1m and rollup_1d: a row has one device and
// window, with the metrics packed. (The views compute their columns, and so cannot find a window by
// its time through an index.)
type rollups struct {
	db     *sqldb.DB
	tables *tables
}

// ready tells whether the rollup store has its tables yet.
func (r rollups) ready(ctx context.Context) (bool, error) {
	return r.tables.have(ctx, r.db, "rollup_window_1m")
}

// tables remembers which tables of other packages exist: they are never dropped.
type tables struct{ known sync.Map }

func (t *tables) have(ctx context.Context, db *sqldb.DB, name string) (bool, error) {
	if _, ok := t.known.Load(name); ok {
		return true, nil
	}
	ok, err := hasTable(ctx, db, name)
	if ok {
		t.known.Store(name, true)
	}
	return ok, err
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

// time returns the expression for a time that is given in Unix seconds.
func (r rollups) time(placeholder string) string {
	if r.db.Dialect == sqldb.Postgres {
		return `to_timestamp(` + placeholder + `)`
	}
	return placeholder
}

// recent reads the minutes from (inclusive) to to (exclusive), in unix seconds,
// of some devices of a fleet.
func (r rollups) recent(ctx context.Context, fleet string, devices []string, from, to int64,
	fn func(device string, m minute)) error {
	query := `SELECT ` + r.columns() + ` FROM rollup_window_1m WHERE fleet = $1 AND bucket >= ` + r.time("$2") +
		` AND bucket < ` + r.time("$3") +
		` AND device_id ` + r.db.Dialect.Among("$4") + ` ORDER BY device_id, bucket`
	args := []any{fleet, from, to, r.db.Dialect.List(devices)}
	return r.each(ctx, query, args, func(_, device string, m minute) { fn(device, m) })
}

// day reads the windows of one day, of all devices.
func (r rollups) day(ctx context.Context, start int64, fn func(fleet, device string, m minute)) error {
	return r.each(ctx, `SELECT `+r.columns()+` FROM rollup_window_1d WHERE bucket = `+r.time("$1"), []any{start}, fn)
}

// since calls fn with the first day, in Unix seconds, that the rollup store has of some devices of
// a fleet.
func (r rollups) since(ctx context.Context, fleet string, devices []string, fn func(device string, start int64)) error {
	first := `min(bucket)`
	if r.db.Dialect == sqldb.Postgres {
		first = `extract(epoch FROM min(bucket))::bigint`
	}
	return sqldb.Each(ctx, r.db, func(row sqldb.Row) error {
		var device string
		var start int64
		if err := row.Scan(&device, &start); err != nil {
			return err
		}
		fn(device, start)
		return nil
	}, `SELECT device_id, `+first+` FROM rollup_window_1d WHERE fleet = $1 AND device_id `+r.db.Dialect.Among("$2")+
		` GROUP BY device_id`, fleet, r.db.Dialect.List(devices))
}

func (r rollups) each(ctx context.Context, query string, args []any, fn func(fleet, device string, m minute)) error {
	known := map[string][]string{} // JSON of the names -> names: most rows have the same
	var s []float64
	return sqldb.Each(ctx, r.db, func(row sqldb.Row) error {
		var fleet, device string
		var bucket int64
		var metrics, packed sql.RawBytes
		if err := row.Scan(&fleet, &device, &bucket, &metrics, &packed); err != nil {
			return err
		}
		names, ok := known[string(metrics)]
		var err error
		if !ok {
			err = json.Unmarshal(metrics, &names)
			known[string(metrics)] = names
		}
		if err == nil {
			s, err = numbers(s[:0], packed)
		}
		if err != nil || len(s) != rollupStride*len(names) {
			return fmt.Errorf("reading window %d of device %s: unknown format: %w", bucket, device, errors.Join(err, errFormat))
		}
		for i, name := range names {
			v := s[i*rollupStride:]
			fn(fleet, device, minute{
				metric: name, start: bucket, lastAt: bucket*1e6 + int64(v[8]), stats: stats{v[0], v[1] / v[0], v[4]},
			})
		}
		return nil
	}, query, args...)
}

// numbers parses a JSON array of numbers, by hand because an hour of 50,000 devices has a hundred
// million.
func numbers(out []float64, raw []byte) ([]float64, error) {
	text := string(raw)
	if len(text) < 2 || text[0] != '[' || text[len(text)-1] != ']' {
		return out, errFormat
	}
	rest := text[1 : len(text)-1]
	for more := rest != ""; more; {
		var item string
		item, rest, more = strings.Cut(rest, ",")
		v, err := strconv.ParseFloat(strings.TrimSpace(item), 64)
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

var errFormat = errors.New("expected nine numbers a metric")
