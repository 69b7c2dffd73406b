package auditlog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// sqliteGuard and postgresGuard create triggers that refuse UPDATE. DELETE is allowed, for retention and erasures.
const (
	sqliteGuard = `CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log
		BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;`
	postgresGuard = `CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
		CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();`
)

func migrations() []sqldb.Migration {
	table := `CREATE TABLE audit_log (
		id TEXT PRIMARY KEY, at BIGINT NOT NULL, key_id TEXT NOT NULL, fleet TEXT NOT NULL,
		method TEXT NOT NULL, path TEXT NOT NULL, peer TEXT NOT NULL, status INTEGER NOT NULL);
		CREATE INDEX audit_log_at ON audit_log (at, id);`
	columns := `ALTER TABLE audit_log ADD COLUMN local_user TEXT NOT NULL DEFAULT '';
		ALTER TABLE audit_log ADD COLUMN detail TEXT NOT NULL DEFAULT '{}';`
	return []sqldb.Migration{{SQLite: table, Postgres: table}, {SQLite: columns + sqliteGuard,
		Postgres: columns + postgresGuard}}
}

// Log is the audit log in SQL.
type Log struct{ db *sqldb.DB }

// Open creates or migrates the table.
func Open(ctx context.Context, db *sqldb.DB) (*Log, error) {
	if err := db.Migrate(ctx, "audit_log", migrations()); err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return &Log{db}, nil
}

// Add appends acts: all are committed when it returns nil, else none. An act
// that is there already, from a delivery whose acknowledgement was lost, is
// left as it is. No text of an act keeps it out: what a store would refuse is escaped.
func (l *Log) Add(ctx context.Context, acts ...Act) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("appending to the audit log: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	for _, a := range acts {
		detail, err := json.Marshal(a.Detail)
		if err == nil {
			_, err = tx.ExecContext(ctx, `INSERT INTO audit_log (id, at, key_id, local_user, fleet, method, path, detail, peer, status)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING`,
				a.ID, a.At.UnixMicro(), text.Stored(a.Key), text.Stored(a.User), text.Stored(a.Fleet), text.Stored(a.Method),
				text.Stored(a.Path), string(detail), text.Stored(a.From), a.Status)
		}
		if err != nil {
			return fmt.Errorf("appending to the audit log: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("appending to the audit log: %w", err)
	}
	return nil
}

// Record opens the log of a control store and appends acts to it.
func Record(ctx context.Context, db *sqldb.DB, acts ...Act) error {
	l, err := Open(ctx, db)
	if err != nil {
		return err
	}
	return l.Add(ctx, acts...)
}

// Place is the last entry of a page, from which the next page continues towards older entries.
type Place struct {
	At int64 // microseconds since 1970
	ID string
}

// Query selects acts to list. An empty Key, Path or Before selects all; From and To are always applied.
type Query struct {
	From, To time.Time // [From, To)
	Key      string    // id of a key, or name of a person or local user
	Path     string    // prefix of the path
	Before   *Place
	Limit    int
}

// List returns at most q.Limit acts, newest first.
func (l *Log) List(ctx context.Context, q Query) (acts []Act, err error) {
	var where []string
	var args []any
	and := func(text string, values ...any) {
		for range values {
			text = strings.Replace(text, "?", fmt.Sprintf("$%d", len(args)+1), 1)
			args, values = append(args, values[0]), values[1:]
		}
		where = append(where, text)
	}
	and("at >= ?", q.From.UnixMicro())
	and("at < ?", q.To.UnixMicro())
	if q.Key != "" {
		and("? IN (key_id, local_user)", q.Key)
	}
	if q.Path != "" {
		and("substr(path, 1, ?) = ?", len(q.Path), q.Path)
	}
	if q.Before != nil {
		and("(at < ? OR (at = ? AND id < ?))", q.Before.At, q.Before.At, q.Before.ID)
	}
	acts, err = sqldb.All(ctx, l.db, scan, fmt.Sprintf(`SELECT id, at, key_id, local_user, fleet, method, path, detail, peer, status
		FROM audit_log WHERE %s ORDER BY at DESC, id DESC LIMIT %d`, strings.Join(where, " AND "), q.Limit), args...)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return acts, nil
}

func scan(row sqldb.Row) (a Act, err error) {
	var at int64
	var detail string
	if err := row.Scan(&a.ID, &at, &a.Key, &a.User, &a.Fleet, &a.Method, &a.Path, &detail, &a.From,
		&a.Status); err != nil {
		return a, err
	}
	a.At = time.UnixMicro(at).UTC()
	return a, json.Unmarshal([]byte(detail), &a.Detail)
}

// expireEntries deletes the acts from before a time. Acts of an admin key, which belong to no fleet, stay while any
// fleet is held.
func expireEntries(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	if _, err := Open(ctx, db); err != nil {
		return expire.Removed{}, err
	}
	return expire.Rows{Table: "audit_log", Key: "id", Old: "at < $1", Fleet: "fleet"}.Expire(ctx, db, p, before)
}
