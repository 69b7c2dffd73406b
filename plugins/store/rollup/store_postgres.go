package rollup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// postgres keeps rollups in PostgreSQL, with or without TimescaleDB. It is safe for concurrent
// use.
type postgres struct {
	db      *sqldb.DB
	cold    *cold
	writer  string    // the id of this process's part of the journal
	writers sync.Pool // of *copyWriter

	mu         sync.Mutex
	native     bool            // tables have native partitions, which prepare creates
	partitions map[string]bool // names of partitions that exist
}

func newPostgres(db *sqldb.DB, c *cold, writer string) *postgres {
	return &postgres{db: db, cold: c, writer: writer, writers: sync.Pool{New: func() any { return new(copyWriter) }},
		partitions: map[string]bool{}}
}

func (p *postgres) migrate(ctx context.Context) error {
	if err := p.db.Migrate(ctx, "rollup", migrations()); err != nil {
		return err
	}
	return p.db.QueryRowContext(ctx, `SELECT relkind = 'p' FROM pg_class WHERE oid = 'rollup_window_1m'::regclass`).Scan(
		&p.native)
}

// Error codes of PostgreSQL.
const (
	pgSerialization = "40001"
	pgDeadlock      = "40P01"
	pgNoPartition   = "23514"
	pgUnique        = "23505"
	pgLocked        = "55P03"
	pgTooSlow       = "57014"
)

func (p *postgres) begin(ctx context.Context, opts pgx.TxOptions, fn func(pgx.Tx) error) error {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(c any) error {
		return pgx.BeginTxFunc(ctx, c.(*stdlib.Conn).Conn(), opts, fn)
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case pgSerialization, pgDeadlock:
			return fmt.Errorf("%w: %w", errConflict, err)
		case pgNoPartition: // dropped by another process's retention
			p.mu.Lock()
			clear(p.partitions)
			p.mu.Unlock()
			return fmt.Errorf("%w: %w", errConflict, err)
		}
	}
	return err
}

func (p *postgres) update(ctx context.Context, fn func(tx) error) error {
	return p.begin(ctx, pgx.TxOptions{}, func(t pgx.Tx) error {
		if _, err := t.Exec(ctx, tombstone.SharedLock); err != nil {
			return err
		}
		return fn(p.cold.over(&postgresTx{p: p, Tx: t}))
	})
}

func (p *postgres) view(ctx context.Context, fn func(tx) error) error {
	opts := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return p.begin(ctx, opts, func(t pgx.Tx) error { return fn(p.cold.over(&postgresTx{p: p, Tx: t, reads: true})) })
}

type postgresTx struct {
	p *postgres
	pgx.Tx
	reads bool // a read-only transaction with one snapshot
	part  *pgJournal
}

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// columns returns the keys as three parameters for unnest.
func columns(keys []Key) (fleets, devices []string, buckets []time.Time) {
	fleets, devices, buckets = make([]string, len(keys)), make([]string, len(keys)), make([]time.Time, len(keys))
	for i, k := range keys {
		fleets[i], devices[i], buckets[i] = k.Fleet, k.Device, at(k.Bucket)
	}
	return fleets, devices, buckets
}

func (t *postgresTx) load(ctx context.Context, keys []Key) (out []*windowRow, err error) {
	fleets, devices, buckets := columns(keys)
	rows, err := t.Query(ctx, `SELECT w.* FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS k(fleet, device_id, bucket)
		CROSS JOIN LATERAL (SELECT fleet, device_id, bucket, metrics, stats, detail, ledger, ledger_state, version FROM rollup_window_1m w
			WHERE w.fleet = k.fleet AND w.device_id = k.device_id AND w.bucket = k.bucket LIMIT 1) w`, fleets, devices, buckets)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r := &windowRow{}
		var bucket time.Time
		var names []string
		var stats []float64
		var detail, ledger []byte
		if err := rows.Scan(&r.Fleet, &r.Device, &bucket, &names, &stats, &detail, &ledger, &r.State,
			&r.Version); err != nil {
			return nil, err
		}
		r.Bucket = bucket.Unix()
		if err := r.decode(names, stats, detail, ledger); err != nil {
			return nil, err
		}
		r.named = len(r.Metrics)
		out = append(out, r)
	}
	return out, rows.Err()
}

// Temporary tables of a connection. Rows are copied into them, and from there written to their
// table by one statement.
const (
	minuteStage = `CREATE TEMP TABLE IF NOT EXISTS rollup_stage_1m (fleet text, device_id text, bucket timestamptz, updated_at timestamptz,
		metrics text[], stats float8[], detail bytea, version bigint, ledger_state smallint, ledger bytea) ON COMMIT DELETE ROWS`
	coarseStage = `CREATE TEMP TABLE IF NOT EXISTS rollup_stage (fleet text, device_id text, bucket timestamptz, updated_at timestamptz,
		metrics text[], stats float8[], detail bytea) ON COMMIT DELETE ROWS`
)

func (t *postgresTx) copyInto(ctx context.Context, stage, table string, w *copyWriter) error {
	if _, err := t.Exec(ctx, stage); err != nil {
		return err
	}
	return t.copy(ctx, table, w)
}

func (t *postgresTx) copy(ctx context.Context, table string, w *copyWriter) error {
	err := sqldb.CopyIn(ctx, t.Tx, bytes.NewReader(w.b), `COPY `+table+` FROM STDIN BINARY`)
	if err != nil {
		w.b = nil // after an error, a goroutine of the driver may still read it
	}
	return err
}

// write copies new rows into the table. It copies changed rows into a temporary table, from which
// one statement updates them.
func (t *postgresTx) write(ctx context.Context, rows []*windowRow, now time.Time) error {
	if err := t.p.prepare(ctx, byMinute, rows); err != nil {
		return err
	}
	w := t.p.writers.Get().(*copyWriter)
	defer t.p.writers.Put(w)
	n := w.minutes(rows, now, func(r *windowRow) bool { return r.Version == 1 || r.cold })
	if n > 0 {
		err := t.copy(ctx, `rollup_window_1m (`+minuteColumns+`)`, w)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == pgUnique {
			return fmt.Errorf("%w: %w", errConflict, err)
		}
		if err != nil {
			return err
		}
	}
	if n = w.minutes(rows, now, func(r *windowRow) bool { return r.Version > 1 && !r.cold }); n == 0 {
		appeared(rows)
		return nil
	}
	if err := t.copyInto(ctx, minuteStage, "rollup_stage_1m", w); err != nil {
		return err
	}
	defer appeared(rows)
	return t.move(ctx, n, `UPDATE rollup_window_1m w SET (updated_at, metrics, stats, detail, version, ledger_state, ledger) =
		(s.updated_at, coalesce(s.metrics, w.metrics), s.stats, s.detail, s.version, s.ledger_state, s.ledger)
		FROM rollup_stage_1m s WHERE w.fleet = s.fleet AND w.device_id = s.device_id AND w.bucket = s.bucket AND w.version = s.version - 1`)
}

// appeared notes that windows which were read from objects have rows now.
func appeared(rows []*windowRow) {
	for _, r := range rows {
		r.cold = false
	}
}

// minuteColumns are the columns in the order in which copyWriter.minute writes them.
const minuteColumns = `fleet, device_id, bucket, updated_at, metrics, stats, detail, version, ledger_state, ledger`

// move runs a statement that must write n rows; otherwise it returns errConflict.
func (t *postgresTx) move(ctx context.Context, n int, statement string) error {
	// Make the planner look up each row by its key: it has no statistics of the temporary table.
	if _, err := t.Exec(ctx, `SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off`); err != nil {
		return err
	}
	tag, err := t.Exec(ctx, statement)
	if err != nil {
		return err
	}
	if int(tag.RowsAffected()) != n {
		return errConflict
	}
	return nil
}

func (t *postgresTx) lockHours(ctx context.Context, hours []int64, now time.Time) (map[int64]bool, error) {
	times := make([]time.Time, len(hours))
	for i, h := range hours {
		times[i] = at(h)
	}
	for {
		closed := make(map[int64]bool, len(hours))
		rows, err := t.Query(ctx, `SELECT hour, state FROM rollup_hour WHERE hour = ANY($1) ORDER BY hour FOR SHARE`, times)
		if err != nil {
			return nil, err
		}
		var hour time.Time
		var state hourState
		if _, err := pgx.ForEachRow(rows, []any{&hour, &state}, func() error {
			closed[hour.Unix()] = state != hourOpen
			return nil
		}); err != nil || len(closed) == len(hours) {
			return closed, err
		}
		if _, err := t.Exec(ctx, `INSERT INTO rollup_hour (hour, state, opened_at) SELECT h, $2, $3 FROM unnest($1::timestamptz[]) h ORDER BY h
			ON CONFLICT DO NOTHING`, times, hourOpen, now); err != nil {
			return nil, err
		}
	}
}

// mark also updates marks that exist: a transaction that is about to take one waits for this
// transaction, and then sees what it wrote.
func (t *postgresTx) mark(ctx context.Context, hours []Key) error {
	fleets, devices, buckets := columns(hours)
	_, err := t.Exec(ctx, `INSERT INTO rollup_mark (fleet, device_id, hour) SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
		ON CONFLICT (fleet, device_id, hour) DO UPDATE SET marks = rollup_mark.marks + 1`, fleets, devices, buckets)
	return err
}
