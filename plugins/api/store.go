package api

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"weir/plugins/sqldb"
)

func migrations() []sqldb.Migration {
	table := `CREATE TABLE audit_log (
		id TEXT PRIMARY KEY, at BIGINT NOT NULL, key_id TEXT NOT NULL, fleet TEXT NOT NULL,
		method TEXT NOT NULL, path TEXT NOT NULL, peer TEXT NOT NULL, status INTEGER NOT NULL);
		CREATE INDEX audit_log_at ON audit_log (at, id);`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// log is the audit log in SQL. Nothing in weir changes or removes an entry
// but retention.
type log struct{ db *sqldb.DB }

func openLog(ctx context.Context, db *sqldb.DB) (*log, error) {
	if err := db.Migrate(ctx, "audit_log", migrations()); err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return &log{db}, nil
}

// add appends acts in one transaction. An act that is there already, from a
// delivery whose acknowledgement was lost, is left as it is.
func (l *log) add(ctx context.Context, acts []Act) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("appending to the audit log: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, a := range acts {
		if _, err := tx.ExecContext(ctx, `INSERT INTO audit_log (id, at, key_id, fleet, method, path, peer, status)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING`,
			a.ID, a.At.UnixMicro(), a.Key, a.Fleet, a.Method, a.Path, a.From, a.Status); err != nil {
			return fmt.Errorf("appending to the audit log: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("appending to the audit log: %w", err)
	}
	return nil
}

// place is where a page of the log ends: the next one goes on before it.
type place struct {
	at int64
	id string
}

// list returns acts from the newest to the oldest, those before a place.
func (l *log) list(ctx context.Context, from, to time.Time, before *place, limit int) (acts []Act, err error) {
	where, args := []string{"at >= $1", "at < $2"}, []any{from.UnixMicro(), to.UnixMicro()}
	if before != nil {
		where, args = append(where, "(at < $3 OR (at = $3 AND id < $4))"), append(args, before.at, before.id)
	}
	rows, err := l.db.QueryContext(ctx, fmt.Sprintf(`SELECT id, at, key_id, fleet, method, path, peer, status
		FROM audit_log WHERE %s ORDER BY at DESC, id DESC LIMIT %d`, strings.Join(where, " AND "), limit), args...)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { err = closing(rows, err) }()
	for rows.Next() {
		var a Act
		var at int64
		if err := rows.Scan(&a.ID, &at, &a.Key, &a.Fleet, &a.Method, &a.Path, &a.From, &a.Status); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		a.At = time.UnixMicro(at).UTC()
		acts = append(acts, a)
	}
	return acts, nil
}

func closing(rows *sql.Rows, err error) error {
	if e := rows.Close(); err == nil {
		err = e
	}
	if e := rows.Err(); err == nil {
		err = e
	}
	return err
}
