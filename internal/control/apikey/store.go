package apikey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/internal/platform/sqldb"
)

// migrations returns the tables. api_key_change has one row that every change of a key increments first: readers poll
// it, and writers serialize on its lock. NULL scopes mark a key made before keys had scopes.
func migrations() []sqldb.Migration {
	table := func(blob string) string {
		return `CREATE TABLE api_key (
			id TEXT PRIMARY KEY, hash ` + blob + ` NOT NULL, fleet TEXT NOT NULL, admin INTEGER NOT NULL, name TEXT NOT NULL,
			created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT, last_used_at BIGINT);
		CREATE INDEX api_key_fleet ON api_key (fleet);
		CREATE TABLE api_key_change (n BIGINT NOT NULL);
		INSERT INTO api_key_change (n) VALUES (0);`
	}
	const scopes = `ALTER TABLE api_key ADD COLUMN scopes TEXT;
		ALTER TABLE api_key ADD COLUMN device_prefix TEXT NOT NULL DEFAULT '';
		ALTER TABLE api_key ADD COLUMN replaced_by TEXT NOT NULL DEFAULT '';
		UPDATE api_key_change SET n = n + 1;`
	return []sqldb.Migration{{SQLite: table("BLOB"), Postgres: table("BYTEA")}, {SQLite: scopes, Postgres: scopes}}
}

// Store keeps keys in SQL. A change is committed when its method returns nil; a crash before that leaves nothing of
// it.
type Store struct {
	db *sqldb.DB
}

// Open creates or migrates the tables of keys. The caller closes db.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "apikey", migrations()); err != nil {
		return nil, fmt.Errorf("opening the API key store: %w", err)
	}
	return &Store{db: db}, nil
}

// Options of a new key.
type Options struct {
	Scopes       []Scope // none: ingest, or in a rotation those of the old key
	DevicePrefix string  // restricts the devices it may send for and read; "": all, or as the old key
	Admin        bool    // the scope admin: administers all fleets, belongs to none
	Name         string
	ExpiresAt    time.Time // zero: never
}

// Create makes a key for a fleet, or an admin key when opts.Admin is set and fleet is empty. The text is returned
// only here and stored nowhere.
func (s *Store) Create(ctx context.Context, fleet string, opts Options) (text string, key Key, err error) {
	if opts, err = checked(fleet, opts); err == nil {
		err = s.change(ctx, func(tx *sql.Tx, now time.Time) error {
			text, key, err = insert(ctx, tx, fleet, opts, now)
			return err
		})
	}
	if err != nil {
		return "", Key{}, fmt.Errorf("creating an API key: %w", err)
	}
	return text, key, nil
}

// checked validates the options and fills in defaults.
func checked(fleet string, opts Options) (Options, error) {
	sorted, err := inOrder(opts.Scopes)
	if err != nil {
		return opts, err
	}
	admin := opts.Admin || slices.Contains(sorted, Admin)
	switch {
	case len(opts.Name) > 200:
		return opts, fmt.Errorf("%w: the name is longer than 200 bytes", errInvalid)
	case admin && fleet != "":
		return opts, fmt.Errorf("%w: an admin key belongs to no fleet", errInvalid)
	case admin && opts.DevicePrefix != "":
		return opts, fmt.Errorf("%w: an admin key has no device prefix", errInvalid)
	case admin:
		opts.Admin, opts.Scopes = true, []Scope{Admin} // admin includes the other scopes
		return opts, nil
	case len(sorted) == 0:
		sorted = []Scope{Ingest}
	}
	opts.Scopes = sorted
	if err := validPrefix(opts.DevicePrefix); err != nil {
		return opts, err
	}
	return opts, ValidFleet(fleet)
}

// Rotate makes a key that replaces another, which stays valid for the grace period, at most until its own expiry. The
// old key is the one with this id, or, when id is empty, the only active key of the fleet without a successor. The
// new key may do the same unless the options say otherwise.
func (s *Store) Rotate(ctx context.Context, fleet, id string, grace time.Duration, opts Options) (text string, key Key,
	err error) {
	if grace < 0 {
		err = fmt.Errorf("%w: the grace period is negative", errInvalid)
	}
	if err == nil {
		err = s.change(ctx, func(tx *sql.Tx, now time.Time) error {
			old, err := predecessor(ctx, tx, fleet, id, now)
			if err != nil {
				return err
			}
			if opts, err = checked(old.Fleet, opts.after(old)); err != nil {
				return err
			}
			if text, key, err = insert(ctx, tx, old.Fleet, opts, now); err != nil {
				return err
			}
			column, at := "expires_at", now.Add(grace)
			if grace == 0 {
				column, at = "revoked_at", now
			} else if old.ExpiresAt != nil && old.ExpiresAt.Before(at) {
				at = *old.ExpiresAt
			}
			_, err = tx.ExecContext(ctx, `UPDATE api_key SET replaced_by = $1, `+column+` = $2 WHERE id = $3`, key.ID,
				at.UnixMicro(), old.ID)
			return err
		})
	}
	if err != nil {
		return "", Key{}, fmt.Errorf("rotating the API key: %w", err)
	}
	return text, key, nil
}

// after fills in what the options leave open from the old key.
func (o Options) after(old *Key) Options {
	if len(o.Scopes) == 0 && !o.Admin {
		o.Scopes = old.Scopes
	}
	if o.DevicePrefix == "" {
		o.DevicePrefix = old.DevicePrefix
	}
	if o.Name == "" {
		o.Name = old.Name
	}
	return o
}

// predecessor finds the key that a rotation replaces.
func predecessor(ctx context.Context, tx *sql.Tx, fleet, id string, now time.Time) (*Key, error) {
	if id == "" {
		if err := ValidFleet(fleet); err != nil {
			return nil, err
		}
	}
	keys, err := sqldb.All(ctx, tx, scan, `SELECT `+columns+` FROM api_key WHERE ($1 = '' OR fleet = $1) AND ($2 = '' OR id = $2)
		AND ($2 <> '' OR replaced_by = '') AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3) ORDER BY created_at DESC, id`,
		fleet, id, now.UnixMicro())
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0 && id != "":
		return nil, fmt.Errorf("%w that is active: %q", errNotFound, id)
	case len(keys) == 0:
		return nil, fmt.Errorf("%w: the fleet has no active one to rotate: create one", errNotFound)
	case len(keys) > 1:
		return nil, fmt.Errorf("%w: the fleet has %d active API keys: say which one to rotate, by its id", errInvalid,
			len(keys))
	}
	return &keys[0], nil
}

// Revoke revokes a key. It fails with errNotFound for an unknown id; revoking a key again changes nothing.
func (s *Store) Revoke(ctx context.Context, id string) error {
	err := s.change(ctx, func(tx *sql.Tx, now time.Time) error {
		res, err := tx.ExecContext(ctx, `UPDATE api_key SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2`,
			now.UnixMicro(), id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errNotFound)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoking the API key: %w", err)
	}
	return nil
}

// change runs f in a transaction, serialized with all other changes of keys.
func (s *Store) change(ctx context.Context, f func(*sql.Tx, time.Time) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if _, err := tx.ExecContext(ctx, `UPDATE api_key_change SET n = n + 1`); err != nil {
		return err
	}
	if err := f(tx, time.Now().UTC().Truncate(time.Microsecond)); err != nil {
		return err
	}
	return tx.Commit()
}

func insert(ctx context.Context, tx *sql.Tx, fleet string, opts Options, now time.Time) (string, Key, error) {
	id, text := newText()
	k := Key{ID: id, Fleet: fleet, Scopes: opts.Scopes, Admin: opts.Admin, DevicePrefix: opts.DevicePrefix,
		Name: opts.Name, CreatedAt: now, hash: hashOf(text)}
	var expires, admin any = nil, 0
	if !opts.ExpiresAt.IsZero() {
		if !opts.ExpiresAt.After(now) {
			return "", Key{}, fmt.Errorf("%w: the expiry is not in the future", errInvalid)
		}
		at := opts.ExpiresAt.UTC().Truncate(time.Microsecond)
		k.ExpiresAt, expires = &at, at.UnixMicro()
	}
	if k.Admin {
		admin = 1
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO api_key (id, hash, fleet, admin, name, created_at, expires_at, scopes, device_prefix)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		id, k.hash[:], fleet, admin, opts.Name, now.UnixMicro(), expires, join(k.Scopes, ","), k.DevicePrefix)
	return text, k, err
}
