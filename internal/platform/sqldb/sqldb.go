// Package sqldb opens the SQL stores that rooms share. The URL says which:
//
//	sqlite:///var/lib/weir/control.db   (three slashes: an absolute path)
//	sqlite://data/control.db            (two: relative to the working directory)
//	postgres://user:password@host/weir
//	postgres://user@host/weir?password=vault://secret/data/weir/pg#password
//
// A path with '?', '#' or '%' has them escaped, as storeurl.New does it. Where a
// URL says where its password is kept, it is read for each connection, as
// secret.Value does it.
//
// Rooms write standard SQL with $1 placeholders, which both accept, and ask
// Dialect where the two differ. It is a leaf: it imports no room.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weir/internal/platform/calls"
	"weir/internal/platform/conf"
	"weir/internal/platform/storeurl"
)

// Dialect is the kind of server behind a DB.
type Dialect string

// The dialects.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// DB is an open store. It is safe for concurrent use. On SQLite, a committed
// transaction is on disk: journal mode WAL with synchronous=FULL.
type DB struct {
	*sql.DB
	Dialect Dialect
	reading bool // opened only for reading
	beside  sync.Map
}

// Beside returns the value that a room keeps in memory for this store: one for all users of the handle. It is made by
// the first call. The key must be of a type of the room's own.
func (db *DB) Beside(key any, make func() any) any {
	if v, ok := db.beside.Load(key); ok {
		return v
	}
	v, _ := db.beside.LoadOrStore(key, make())
	return v
}

// URL reads the URL of a SQL store from a config, with conf.Read.
func URL(to *string) any { return conf.URL(to, schemes()...) }

// MaybeURL is URL for an optional store.
func MaybeURL(to *string) any { return conf.MaybeURL(to, schemes()...) }

func schemes() []string { return []string{"sqlite", "postgres", "postgresql"} }

// Open opens the store and checks that it answers. SQLite files are created,
// with their folder, for their owner alone. Every SQLite connection waits up to ten seconds for a
// lock, even if the context ends meanwhile, and every SQLite transaction takes the write lock when it begins, so
// that it never fails half way with "database is locked".
func Open(ctx context.Context, rawURL string) (*DB, error) { return open(ctx, rawURL, nil) }

// The connections to a SQLite file. An unused one is closed only after a while, because a new one must read the file's
// schema and prepare all statements again.
const (
	mostConns = 8
	idleMost  = 30 * time.Second
)

// open is Open with a meter for the calls of a dialect, nil for none.
func open(ctx context.Context, rawURL string, of func(Dialect) *calls.Meter) (*DB, error) {
	scheme, _, ok := strings.Cut(rawURL, "://")
	if !ok {
		return nil, fmt.Errorf("opening SQL store %q: expected sqlite://PATH or postgres://…", Redact(rawURL))
	}
	var db *sql.DB
	var dialect Dialect
	var err error
	switch scheme {
	case "sqlite":
		dialect = SQLite
		path, perr := storeurl.Path(rawURL)
		if perr != nil {
			return nil, fmt.Errorf("opening SQL store %q: %w", rawURL, perr)
		}
		if err = makeFile(ctx, path); err != nil {
			return nil, fmt.Errorf("creating SQL store %s: %w", rawURL, err)
		}
		db, err = openSQLite(fileDSN(path), meterOf(of, dialect))
		if err == nil {
			db.SetMaxOpenConns(mostConns)
			db.SetMaxIdleConns(mostConns)
			db.SetConnMaxIdleTime(idleMost)
		}
	case "postgres", "postgresql":
		dialect = Postgres
		db, err = openPostgres(rawURL, meterOf(of, dialect))
	default:
		return nil, fmt.Errorf("opening SQL store %q: scheme %q is not one of sqlite, postgres", Redact(rawURL), scheme)
	}
	if err == nil {
		err = db.PingContext(ctx)
	}
	if err != nil {
		if db != nil {
			_ = db.Close()
		}
		return nil, fmt.Errorf("opening SQL store %s: %w", Redact(rawURL), err)
	}
	return &DB{DB: db, Dialect: dialect}, nil
}

// fileDSN returns the DSN of a file with the settings of each connection, and more.
func fileDSN(path string, more ...string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append(more, busyTimeout(), "journal_mode(WAL)",
		"synchronous(FULL)", "foreign_keys(ON)")}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// makeFile creates the file of a new store, so that it can shrink later. That is set once, in the new file: a
// connection that sets it waits for writers.
func makeFile(ctx context.Context, path string) error {
	if err := makePrivate(path); err != nil {
		return err
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 0 {
		return err
	}
	db, err := sql.Open("sqlite", fileDSN(path, "auto_vacuum(INCREMENTAL)"))
	if err != nil {
		return err
	}
	return errors.Join(db.PingContext(ctx), db.Close())
}

// makePrivate creates the file of a new store, and its folder, only for their owner. SQLite gives its -wal and -shm
// files the same mode.
func makePrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// Redact returns the URL without its passwords, for messages and logs.
func Redact(rawURL string) string {
	if strings.HasPrefix(rawURL, string(SQLite)+"://") {
		return rawURL // a path has none
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "(unreadable URL)"
	}
	if q := u.Query(); q.Has("password") || q.Has("sslpassword") {
		for _, name := range []string{"password", "sslpassword"} {
			if q.Has(name) {
				q.Set(name, "xxxxx")
			}
		}
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

// ForUpdate returns the end of a query whose rows the transaction will change depending on their values: it locks the
// rows. It is empty for SQLite, which has one writer at a time.
func (db *DB) ForUpdate() string {
	if db.Dialect == Postgres {
		return ` FOR UPDATE`
	}
	return ``
}
