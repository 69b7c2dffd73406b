package rollup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/jobs"
	"weir/internal/platform/sqldb"
)

// The tables of old minutes. rollup_tier has one row: the place of the objects, and the lease
// of the process that may publish or replace them. rollup_cold lists the published objects;
// an object that is not listed belongs to nobody.
//
// A process of a version without this migration would count an old window from zero. It
// refuses to start on this schema, but may still run during a rolling upgrade. So where
// minutes exist already, moving begins a day after the migration.
const (
	sqliteCold = `
CREATE TABLE rollup_tier (id TEXT PRIMARY KEY, url TEXT NOT NULL, begins INTEGER NOT NULL, changes INTEGER NOT NULL DEFAULT 0,
	owner TEXT NOT NULL DEFAULT '', lease_until INTEGER NOT NULL DEFAULT 0);
INSERT INTO rollup_tier (id, url, begins) SELECT 'minutes', '',
	CASE WHEN EXISTS (SELECT 1 FROM rollup_window_1m) THEN CAST(strftime('%s', 'now') AS INTEGER) + 86400 ELSE 0 END;
CREATE TABLE rollup_cold (
	object TEXT PRIMARY KEY, day INTEGER NOT NULL, written_at INTEGER NOT NULL, windows INTEGER NOT NULL, bytes INTEGER NOT NULL,
	low_fleet TEXT NOT NULL, low_device TEXT NOT NULL, high_fleet TEXT NOT NULL, high_device TEXT NOT NULL);
CREATE INDEX rollup_cold_by_day ON rollup_cold (day);
`
	postgresCold = `
CREATE TABLE rollup_tier (id text PRIMARY KEY, url text NOT NULL, begins bigint NOT NULL, changes bigint NOT NULL DEFAULT 0,
	owner text NOT NULL DEFAULT '', lease_until bigint NOT NULL DEFAULT 0);
INSERT INTO rollup_tier (id, url, begins) SELECT 'minutes', '',
	CASE WHEN EXISTS (SELECT 1 FROM rollup_window_1m) THEN extract(epoch FROM now())::bigint + 86400 ELSE 0 END;
CREATE TABLE rollup_cold (
	object text PRIMARY KEY, day bigint NOT NULL, written_at bigint NOT NULL, windows bigint NOT NULL, bytes bigint NOT NULL,
	low_fleet text COLLATE "C" NOT NULL, low_device text COLLATE "C" NOT NULL,
	high_fleet text COLLATE "C" NOT NULL, high_device text COLLATE "C" NOT NULL);
CREATE INDEX rollup_cold_by_day ON rollup_cold (day);
`
	// coldSums adds the size in bytes of an object's sums; 0 means that it has none, as in
	// objects that were made before.
	coldSums = `ALTER TABLE rollup_cold ADD COLUMN summed BIGINT NOT NULL DEFAULT 0`

	tierRow = "minutes"
)

// tierLease is how long other processes cannot move minutes after a process died that did.
const tierLease = 30 * time.Second

// leases is the lease on publishing, which one process has at a time.
func leases(db *sqldb.DB) jobs.Table {
	return jobs.Table{DB: db, Name: "rollup_tier", Key: "id", Until: "lease_until", Owner: "owner", Lease: tierLease,
		Work: `id = '` + tierRow + `'`, Order: `id`}
}

// querier is what old minutes need of a transaction, in SQL that both databases understand.
type querier interface {
	exec(ctx context.Context, query string, args ...any) (changed int64, err error)
	query(ctx context.Context, each func(sqldb.Row) error, query string, args ...any) error
	// keepTier prevents publishing until the transaction ends.
	keepTier(ctx context.Context) error
	// sealed reads, in any order, the rows without a ledger that a key's device has within a
	// day from the key's bucket.
	sealed(ctx context.Context, keys []Key, fn func(*windowRow) error) error
	// firstSealed returns the earliest bucket in [from, before) that has a row without a
	// ledger.
	firstSealed(ctx context.Context, from, before int64) (bucket int64, found bool, err error)
	// sealedDevices returns the owners of such rows that begin within an hour.
	sealedDevices(ctx context.Context, hour int64) ([]owner, error)
	// beside returns the rows of an object's day and range of owners: the object may have
	// the same windows.
	beside(ctx context.Context, o coldObject) ([]Key, error)
	// remove deletes the rows of minutes that still have these versions and no ledger.
	remove(ctx context.Context, rows []versioned) error
}

// versioned is a window with the version of its row.
type versioned struct {
	Key
	Version int64
}

func (t *sqliteTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return t.changed(ctx, query, args)
}

func (t *sqliteTx) query(ctx context.Context, each func(sqldb.Row) error, query string, args ...any) error {
	return sqldb.Each(ctx, t.tx, each, query, args...)
}

func (t *sqliteTx) keepTier(context.Context) error { return nil } // the transaction holds SQLite's only write lock

func (t *sqliteTx) sealed(ctx context.Context, keys []Key, fn func(*windowRow) error) error {
	return t.each(ctx, `SELECT bucket, version, metrics, stats, detail FROM rollup_window_1m
		WHERE fleet = ? AND device_id = ? AND bucket >= ? AND bucket < ? AND ledger_state = 1`, keys,
		func(k Key) []any { return []any{k.Fleet, k.Device, k.Bucket, k.Bucket + byDay.Width} },
		func(k Key, rows *sql.Rows) error {
			r := &windowRow{Key: k, State: ledgerDropped}
			var metrics, stats, detail sql.RawBytes
			if err := rows.Scan(&r.Bucket, &r.Version, &metrics, &stats, &detail); err != nil {
				return err
			}
			if err := t.decode(r, metrics, stats, detail, nil); err != nil {
				return err
			}
			return fn(r)
		})
}

func (t *sqliteTx) firstSealed(ctx context.Context, from, before int64) (bucket int64, found bool, err error) {
	err = t.query(ctx, func(row sqldb.Row) error { found = true; return row.Scan(&bucket) },
		`SELECT bucket FROM rollup_window_1m WHERE ledger_state = 1 AND bucket >= $1 AND bucket < $2
		ORDER BY bucket LIMIT 1`, from, before)
	return bucket, found, err
}

const sealedDevices = `SELECT DISTINCT fleet, device_id FROM rollup_window_1m
	WHERE ledger_state = 1 AND bucket >= $1 AND bucket < $2`

// ownersOfRows returns a callback that collects rows of fleet and device.
func ownersOfRows(list *[]owner) func(sqldb.Row) error {
	return func(row sqldb.Row) error {
		var o owner
		err := row.Scan(&o.Fleet, &o.Device)
		*list = append(*list, o)
		return err
	}
}

func (t *sqliteTx) sealedDevices(ctx context.Context, hour int64) (list []owner, err error) {
	err = t.query(ctx, ownersOfRows(&list), sealedDevices, hour, hour+byHour.Width)
	return list, err
}

// besides selects rows that may also be in an object; a rebuilt one has a complete ledger.
const besides = ` FROM rollup_window_1m WHERE ledger_state IN (0, 1, 2) AND bucket >= $1 AND bucket < $2
	AND (fleet, device_id) >= ($3, $4) AND (fleet, device_id) <= ($5, $6)`

// keysOfRows returns a callback that collects rows of fleet, device and Unix seconds.
func keysOfRows(list *[]Key) func(sqldb.Row) error {
	return func(row sqldb.Row) error {
		var k Key
		err := row.Scan(&k.Fleet, &k.Device, &k.Bucket)
		*list = append(*list, k)
		return err
	}
}

func (t *sqliteTx) beside(ctx context.Context, o coldObject) (list []Key, err error) {
	err = t.query(ctx, keysOfRows(&list), `SELECT fleet, device_id, bucket`+besides, o.Day, o.Day+byDay.Width,
		o.Low.Fleet, o.Low.Device, o.High.Fleet, o.High.Device)
	return list, err
}

func (t *sqliteTx) remove(ctx context.Context, rows []versioned) error {
	stmt, err := t.tx.PrepareContext(ctx, `DELETE FROM rollup_window_1m
		WHERE fleet = ? AND device_id = ? AND bucket = ? AND version = ? AND ledger_state = 1`)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	for _, r := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := stmt.ExecContext(unwatched(ctx), r.Fleet, r.Device, r.Bucket, r.Version); err != nil {
			return err
		}
	}
	return nil
}

func (t *postgresTx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := t.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

func (t *postgresTx) query(ctx context.Context, each func(sqldb.Row) error, query string, args ...any) error {
	rows, err := t.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t *postgresTx) keepTier(ctx context.Context) error {
	if t.reads {
		return nil
	}
	_, err := t.Exec(ctx, `SELECT 1 FROM rollup_tier WHERE id = '`+tierRow+`' FOR SHARE`)
	return err
}

func (t *postgresTx) sealed(ctx context.Context, keys []Key, fn func(*windowRow) error) error {
	fleets, devices, buckets := columns(keys)
	rows, err := t.Query(ctx, `SELECT w.* FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k(fleet, device_id, bucket)
		CROSS JOIN LATERAL (SELECT fleet, device_id, bucket, version, metrics, stats, detail FROM rollup_window_1m w
			WHERE w.fleet = k.fleet AND w.device_id = k.device_id AND w.bucket >= k.bucket
			AND w.bucket < k.bucket + interval '86400 seconds' AND w.ledger_state = 1 OFFSET 0) w`, fleets, devices, buckets)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := &windowRow{State: ledgerDropped}
		var bucket time.Time
		var names []string
		var stats []float64
		var detail []byte
		if err := rows.Scan(&r.Fleet, &r.Device, &bucket, &r.Version, &names, &stats, &detail); err != nil {
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

func (t *postgresTx) firstSealed(ctx context.Context, from, before int64) (bucket int64, found bool, err error) {
	err = t.query(ctx, func(row sqldb.Row) error { found = true; return row.Scan(&bucket) },
		`SELECT extract(epoch FROM bucket)::bigint FROM rollup_window_1m WHERE ledger_state = 1 AND bucket >= $1
		AND bucket < $2 ORDER BY bucket LIMIT 1`, at(from), at(before))
	return bucket, found, err
}

func (t *postgresTx) sealedDevices(ctx context.Context, hour int64) (list []owner, err error) {
	err = t.query(ctx, ownersOfRows(&list), sealedDevices, at(hour), at(hour+byHour.Width))
	return list, err
}

func (t *postgresTx) beside(ctx context.Context, o coldObject) (list []Key, err error) {
	err = t.query(ctx, keysOfRows(&list), `SELECT fleet, device_id, extract(epoch FROM bucket)::bigint`+besides, at(o.Day),
		at(o.Day+byDay.Width), o.Low.Fleet, o.Low.Device, o.High.Fleet, o.High.Device)
	return list, err
}

func (t *postgresTx) remove(ctx context.Context, rows []versioned) error {
	keys, versions := make([]Key, len(rows)), make([]int64, len(rows))
	for i, r := range rows {
		keys[i], versions[i] = r.Key, r.Version
	}
	fleets, devices, buckets := columns(keys)
	_, err := t.Exec(ctx, `DELETE FROM rollup_window_1m w
		USING unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[]) AS k(fleet, device_id, bucket, version)
		WHERE w.fleet = k.fleet AND w.device_id = k.device_id AND w.bucket = k.bucket AND w.version = k.version
		AND w.ledger_state = 1`, fleets, devices, buckets, versions)
	return err
}

// objects returns the published objects of days in [from, to) that may have windows of the
// owners, ordered by day and owner.
func (t *coldTx) objects(ctx context.Context, from, to int64, of owners) (out []coldObject, err error) {
	query, args := `SELECT object, day, written_at, windows, bytes, summed, low_fleet, low_device, high_fleet, high_device FROM rollup_cold
		WHERE day >= $1 AND day < $2`, []any{from, to}
	if w, all := of.span(); !all {
		query += ` AND (low_fleet, low_device) <= ($3, $4) AND (high_fleet, high_device) >= ($5, $6)`
		args = append(args, w.High.Fleet, w.High.Device, w.Low.Fleet, w.Low.Device)
	} else if of.Fleet != "" {
		query, args = query+` AND low_fleet <= $3 AND high_fleet >= $3`, append(args, of.Fleet)
	}
	err = t.query(ctx, func(row sqldb.Row) error {
		var o coldObject
		if err := row.Scan(&o.Key, &o.Day, &o.Written, &o.Windows, &o.Bytes, &o.Summed, &o.Low.Fleet, &o.Low.Device,
			&o.High.Fleet, &o.High.Device); err != nil {
			return err
		}
		if of.meets(o.within) {
			out = append(out, o)
		}
		return nil
	}, query+` ORDER BY day, low_fleet, low_device`, args...)
	if err != nil {
		return nil, fmt.Errorf("listing the objects of old minutes: %w", err)
	}
	return out, nil
}

// days returns the days in [from, to) that have published objects.
func (t *coldTx) days(ctx context.Context, from, to int64) (days []int64, err error) {
	err = t.query(ctx, func(row sqldb.Row) error {
		var day int64
		err := row.Scan(&day)
		days = append(days, day)
		return err
	}, `SELECT DISTINCT day FROM rollup_cold WHERE day >= $1 AND day < $2 ORDER BY day`, from, to)
	return days, err
}

// anyOf reports whether one of the days has a published object.
func (t *coldTx) anyOf(ctx context.Context, days []int64) (found bool, err error) {
	list := make([]string, len(days))
	for i, d := range days {
		list[i] = strconv.FormatInt(d, 10)
	}
	err = t.query(ctx, func(row sqldb.Row) error { found = true; return nil },
		`SELECT day FROM rollup_cold WHERE day IN (`+strings.Join(list, `, `)+`) LIMIT 1`)
	return found, err
}

// url returns where the objects are; "" if nothing was ever to be moved.
func (t *coldTx) url(ctx context.Context) (url string, err error) {
	err = t.query(ctx, func(row sqldb.Row) error { return row.Scan(&url) },
		`SELECT url FROM rollup_tier WHERE id = $1`, tierRow)
	return url, err
}

// begins returns the earliest time at which minutes may be moved, in Unix seconds.
func (t *coldTx) begins(ctx context.Context) (at int64, err error) {
	err = t.query(ctx, func(row sqldb.Row) error { return row.Scan(&at) },
		`SELECT begins FROM rollup_tier WHERE id = $1`, tierRow)
	return at, err
}

// publish replaces the objects `gone` by the objects `come`; either may be empty. It fails with
// jobs.ErrLost if owner has lost the lease. Readers see the state before or after it. It waits
// for transactions that called keepTier.
func (t *coldTx) publish(ctx context.Context, owner string, gone, come []coldObject) error {
	n, err := t.exec(ctx, `UPDATE rollup_tier SET changes = changes + 1 WHERE id = $1 AND owner = $2`, tierRow, owner)
	if err == nil && n == 0 {
		err = jobs.ErrLost
	}
	for _, o := range gone {
		if err == nil {
			if n, err = t.exec(ctx, `DELETE FROM rollup_cold WHERE object = $1`, o.Key); err == nil && n == 0 {
				err = errors.Join(jobs.ErrLost, fmt.Errorf("%s is published no more", o.Key))
			}
		}
	}
	for _, o := range come {
		if err == nil {
			_, err = t.exec(ctx, `INSERT INTO rollup_cold
				(object, day, written_at, windows, bytes, summed, low_fleet, low_device, high_fleet, high_device)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, o.Key, o.Day, o.Written, o.Windows, o.Bytes, o.Summed,
				o.Low.Fleet, o.Low.Device, o.High.Fleet, o.High.Device)
		}
	}
	return err
}
