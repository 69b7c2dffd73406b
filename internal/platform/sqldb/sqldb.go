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
	reading bool // tables stay as they are
	beside  sync.Map
}

// Beside returns what a room keeps in memory beside the store: one for all who
// hold this handle. It is made when it is first asked for, under a key of a type
// of the room's own.
func (db *DB) Beside(key any, make func() any) any {
	if v, ok := db.beside.Load(key); ok {
		return v
	}
	v, _ := db.beside.LoadOrStore(key, make())
	return v
}

// URL reads the URL of a SQL store from a config, with conf.Read.
func URL(to *string) any { return conf.URL(to, schemes()...) }

// MaybeURL is URL for a store that may be left out.
func MaybeURL(to *string) any { return conf.MaybeURL(to, schemes()...) }

func schemes() []string { return []string{"sqlite", "postgres", "postgresql"} }

// Open opens the store and checks that it answers. SQLite files are created,
// with their folder, for their owner alone. Every SQLite connection waits up to ten seconds for a
// lock, even if the context ends meanwhile, and every SQLite transaction takes the write lock when it begins, so
// that it never fails half way with "database is locked".
func Open(ctx context.Context, rawURL string) (*DB, error) { return open(ctx, rawURL, nil) }

// Connections to a file. One that is not used goes after a while, and not at once:
// a new one reads the file's schema, and all statements, anew.
const (
	mostConns = 8
	idleMost  = 30 * time.Second
)

// open is Open, and notes the calls of a dialect's store: nil notes none.
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

// fileDSN is a file with what each connection to it is set to, and more.
func fileDSN(path string, more ...string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append(more, busyTimeout(), "journal_mode(WAL)",
		"synchronous(FULL)", "foreign_keys(ON)")}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// makeFile makes the file of a store that is not there yet, so that it can shrink. It
// is once that this is said: each connection that says it waits for the writers.
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

// makePrivate makes the file of a store that is not there yet, and its folder,
// for their owner alone. SQLite gives its -wal and -shm files the same mode.
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

// ForUpdate ends a query of rows that its transaction changes by what it has read
// of them: nobody else changes them in between. SQLite has one writer at a time.
func (db *DB) ForUpdate() string {
	if db.Dialect == Postgres {
		return ` FOR UPDATE`
	}
	return ``
}
