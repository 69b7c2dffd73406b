package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"weir/internal/platform/storeurl"
)

// OpenReading opens an existing store only for reading: it creates no file, changes no table (Migrate fails if a table
// is older or newer than this version of weir), and needs no permission to write, not even in the folder. Beside a
// process that writes, it sees what is committed.
func OpenReading(ctx context.Context, rawURL string) (*DB, error) {
	if !strings.HasPrefix(rawURL, "sqlite://") {
		db, err := Open(ctx, rawURL)
		if err == nil {
			db.reading = true
		}
		return db, err
	}
	path, err := storeurl.Path(rawURL)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening SQL store %s: %w", rawURL, err)
	}
	q := url.Values{"mode": {"ro"}, "_pragma": {busyTimeout()}}
	// While a process has the store open, and after a crash, there is a write-ahead log beside it with committed data.
	// Without one nobody writes, and the file has everything: as immutable, SQLite needs to create neither a log nor its
	// index.
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		q.Set("immutable", "1")
	} else if err != nil {
		return nil, fmt.Errorf("opening SQL store %s: %w", rawURL, err)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening SQL store %s: %w", rawURL, err)
	}
	db.SetMaxOpenConns(8)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening SQL store %s: %w", rawURL, err), db.Close())
	}
	return &DB{DB: db, Dialect: SQLite, reading: true}, nil
}

// migrated reports whether the tables of a room have exactly the steps that this version of weir knows.
func (db *DB) migrated(ctx context.Context, room string, steps int) error {
	done, err := db.steps(ctx, room)
	if err != nil {
		return fmt.Errorf("reading the version of %s: %w", room, err)
	}
	if done != steps {
		return fmt.Errorf("reading %s: the store has %d steps of its tables and this weir knows %d; "+
			"use the weir that wrote it, or start this one on it once", room, done, steps)
	}
	return nil
}
