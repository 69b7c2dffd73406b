package rollup

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/flow"
	"weir/internal/platform/sqldb"
)

// sqlite keeps rollups in one file. Its write transactions take the lock when they begin, so what
// they have read does not change before they write.
type sqlite struct {
	db   *sqldb.DB
	cold *cold
}

func (s *sqlite) migrate(ctx context.Context) error { return s.db.Migrate(ctx, "rollup", migrations()) }

func (s *sqlite) update(ctx context.Context, fn func(tx) error) error {
	t, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // no effect after a commit
	if err := fn(s.cold.over(&sqliteTx{tx: t})); err != nil {
		return err
	}
	return t.Commit()
}

func (s *sqlite) view(ctx context.Context, fn func(tx) error) error {
	t, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }()
	return fn(s.cold.over(&sqliteTx{tx: t}))
}

type sqliteTx struct {
	tx    *sql.Tx
	buf   []byte
	stats []float64
	names map[string]string // JSON of lists of metric names, by the names joined by zero bytes
}

// unwatched returns a context for the statement of one row that cannot be cancelled: the driver
// starts a goroutine for every statement that can, which costs more than the row. Loops check the
// context between rows.
func unwatched(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// each runs a query for every key and passes its rows to scan.
func (t *sqliteTx) each(ctx context.Context, query string, keys []Key, args func(Key) []any,
	scan func(Key, *sql.Rows) error) error {
	stmt, err := t.tx.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	row := unwatched(ctx)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows, err := stmt.QueryContext(row, args(k)...)
		if err != nil {
			return err
		}
		for rows.Next() {
			if err = scan(k, rows); err != nil {
				break
			}
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (t *sqliteTx) load(ctx context.Context, keys []Key) (out []*windowRow, err error) {
	err = t.each(ctx, `SELECT rowid, version, ledger_state, metrics, stats, detail, ledger FROM rollup_window_1m
		WHERE fleet = ? AND device_id = ? AND bucket = ?`, keys,
		func(k Key) []any { return []any{k.Fleet, k.Device, k.Bucket} },
		func(k Key, rows *sql.Rows) error {
			r := &windowRow{Key: Key{strings.Clone(k.Fleet), strings.Clone(k.Device), k.Bucket}}
			var metrics, stats, detail, ledger sql.RawBytes
			if err := rows.Scan(&r.rowid, &r.Version, &r.State, &metrics, &stats, &detail, &ledger); err != nil {
				return err
			}
			r.stored = r.State
			out = append(out, r)
			return t.decode(r, metrics, stats, detail, ledger)
		})
	return out, err
}

func (t *sqliteTx) decode(r *windowRow, metrics, stats, detail, ledger []byte) error {
	var names []string
	if err := json.Unmarshal(metrics, &names); err != nil {
		return fmt.Errorf("reading metric names: %w", err)
	}
	var err error
	if t.stats, err = parseNumbers(t.stats[:0], stats); err != nil {
		return fmt.Errorf("reading stats: %w", err)
	}
	return r.decode(names, t.stats, detail, ledger)
}

// parseNumbers parses a JSON array of numbers, without spaces, and appends them to out.
func parseNumbers(out []float64, b []byte) ([]float64, error) {
	if len(b) < 2 || b[0] != '[' || b[len(b)-1] != ']' {
		return nil, errCorrupt
	}
	for rest := string(b[1 : len(b)-1]); rest != ""; {
		var item string
		item, rest, _ = strings.Cut(rest, ",")
		v, err := strconv.ParseFloat(item, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// columns returns the values of the columns metrics, stats and detail. detail is valid until t is
// used again.
func (t *sqliteTx) columns(r *windowRow) (metrics, stats string, detail []byte, err error) {
	metrics, err = t.quoted(r)
	if err != nil {
		return "", "", nil, err
	}
	t.stats = r.appendStats(t.stats[:0])
	t.buf = append(t.buf[:0], '[')
	for i, v := range t.stats {
		if i > 0 {
			t.buf = append(t.buf, ',')
		}
		t.buf = appendNumber(t.buf, v)
	}
	t.buf = append(t.buf, ']')
	stats = string(t.buf)
	t.buf = r.appendDetail(t.buf[:0])
	return metrics, stats, t.buf, nil
}

// appendNumber appends a number as JSON that parses to the same double. Most readings have few
// decimals, which are cheaper to find than the shortest digits of an arbitrary double.
func appendNumber(b []byte, v float64) []byte {
	const scale, decimals = 10_000, 4
	n := math.Round(v * scale)
	if !(math.Abs(n) < 1e15) || n/scale != v { // both exact, so the quotient is the double nearest to n/scale
		return strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	whole, part := uint64(n)/scale, uint64(n)%scale
	if b = strconv.AppendUint(b, whole, 10); part == 0 {
		return b
	}
	digits := [decimals + 1]byte{'.'}
	for i := decimals; i > 0; i-- {
		digits[i] = byte('0' + part%10)
		part /= 10
	}
	end := len(digits)
	for digits[end-1] == '0' {
		end--
	}
	return append(b, digits[:end]...)
}

// quoted returns the metric names of a row as JSON. The row keeps the result, which stays valid
// while it has as many metrics, because these only grow.
func (t *sqliteTx) quoted(r *windowRow) (string, error) {
	if r.quotes == len(r.Metrics) && r.quoted != "" {
		return r.quoted, nil
	}
	quoted, err := t.quote(r)
	r.quoted, r.quotes = quoted, len(r.Metrics)
	return quoted, err
}

func (t *sqliteTx) quote(r *windowRow) (string, error) {
	t.buf = t.buf[:0]
	for _, m := range r.Metrics {
		t.buf = append(append(t.buf, m.Name...), 0) // see storable
	}
	if have, ok := t.names[string(t.buf)]; ok {
		return have, nil
	}
	names := make([]string, len(r.Metrics))
	for i, m := range r.Metrics {
		names[i] = m.Name
	}
	quoted, err := json.Marshal(names)
	if err != nil {
		return "", err
	}
	if t.names == nil {
		t.names = map[string]string{}
	}
	t.names[string(t.buf)] = string(quoted)
	return string(quoted), nil
}

// write finds rows by their rowid, without a search in the index of the key. It sets ledger_state
// only if it changes, so the other index is not updated.
func (t *sqliteTx) write(ctx context.Context, rows []*windowRow, now time.Time) error {
	stmts, err := t.prepare(ctx, `INSERT INTO rollup_window_1m
		(metrics, stats, detail, ledger, updated_at, version, ledger_state, fleet, device_id, bucket)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		`UPDATE rollup_window_1m SET metrics = ?, stats = ?, detail = ?, ledger = ?, updated_at = ?, version = ?
		WHERE rowid = ? AND version = ? AND fleet = ? AND device_id = ? AND bucket = ?`,
		`UPDATE rollup_window_1m SET metrics = ?, stats = ?, detail = ?, ledger = ?, updated_at = ?, version = ?, ledger_state = ?
		WHERE rowid = ? AND version = ? AND fleet = ? AND device_id = ? AND bucket = ?`)
	defer closeAll(stmts)
	if err != nil {
		return err
	}
	insert, update, updateState := 0, 1, 2
	var ledger []byte
	var args []any
	row := unwatched(ctx)
	var loop flow.Yielder
	for i, r := range rows {
		if i%16 == 0 {
			loop.Yield()
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		metrics, stats, detail, err := t.columns(r)
		if err != nil {
			return err
		}
		ledger = r.appendLedger(ledger[:0])
		args = append(args[:0], metrics, stats, detail, ledger, now.Unix(), r.Version)
		kind := update
		switch {
		case r.Version == 1 || r.cold:
			kind, args = insert, append(args, int64(r.State))
		case r.State != r.stored:
			kind, args = updateState, append(args, int64(r.State), r.rowid, r.Version-1)
		default:
			args = append(args, r.rowid, r.Version-1)
		}
		res, err := stmts[kind].ExecContext(row, append(args, r.Fleet, r.Device, r.Bucket)...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n != 1 {
			return errConflict
		}
		if r.stored = r.State; kind == insert {
			r.cold = false
			if r.rowid, err = res.LastInsertId(); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare prepares statements. The caller must close those that it returns, also after an error.
func (t *sqliteTx) prepare(ctx context.Context, queries ...string) (stmts []*sql.Stmt, err error) {
	for _, q := range queries {
		stmt, err := t.tx.PrepareContext(ctx, q)
		if err != nil {
			return stmts, err
		}
		stmts = append(stmts, stmt)
	}
	return stmts, nil
}

func closeAll(stmts []*sql.Stmt) {
	for _, s := range stmts {
		_ = s.Close() // ended with the transaction at the latest
	}
}

func (t *sqliteTx) lockHours(ctx context.Context, hours []int64, now time.Time) (map[int64]bool, error) {
	closed := make(map[int64]bool, len(hours))
	for _, h := range hours {
		if _, err := t.tx.ExecContext(ctx, `INSERT INTO rollup_hour (hour, state, opened_at) VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, h, int64(hourOpen), now.Unix()); err != nil {
			return nil, err
		}
		var state hourState
		if err := t.tx.QueryRowContext(ctx, `SELECT state FROM rollup_hour WHERE hour = $1`, h).Scan(&state); err != nil {
			return nil, err
		}
		closed[h] = state != hourOpen
	}
	return closed, nil
}

func (t *sqliteTx) mark(ctx context.Context, hours []Key) error {
	stmt, err := t.tx.PrepareContext(ctx, `INSERT INTO rollup_mark (fleet, device_id, hour) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	for _, k := range hours {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := stmt.ExecContext(unwatched(ctx), k.Fleet, k.Device, k.Bucket); err != nil {
			return err
		}
	}
	return nil
}
