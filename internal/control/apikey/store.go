package apikey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// MaxActive is how many active keys a fleet has at most: one in use, and one
// that takes over from it.
const MaxActive = 2

// migrations holds the tables. api_key_change has one row, which every change
// of a key increments first: readers poll it, and writers queue on its lock,
// so that no two of them can both find room for one more key.
func migrations() []sqldb.Migration {
	table := func(blob string) string {
		return `CREATE TABLE api_key (
			id TEXT PRIMARY KEY, hash ` + blob + ` NOT NULL, fleet TEXT NOT NULL, admin INTEGER NOT NULL, name TEXT NOT NULL,
			created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT, last_used_at BIGINT);
		CREATE INDEX api_key_fleet ON api_key (fleet);
		CREATE TABLE api_key_change (n BIGINT NOT NULL);
		INSERT INTO api_key_change (n) VALUES (0);`
	}
	return []sqldb.Migration{{SQLite: table("BLOB"), Postgres: table("BYTEA")}}
}

// Store keeps keys in SQL. What a method has returned without an error is
// committed; a crash before that leaves nothing of it.
type Store struct {
	db *sqldb.DB
}

// Open makes or updates the tables of keys in db, which stays the caller's.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "apikey", migrations()); err != nil {
		return nil, fmt.Errorf("opening the API key store: %w", err)
	}
	return &Store{db: db}, nil
}

// Options of a new key.
type Options struct {
	Admin     bool // administers all fleets; belongs to none
	Name      string
	ExpiresAt time.Time // zero: never
}

// Create makes a key for a fleet, or an admin key when opts.Admin is set and
// the fleet is empty. The text is returned this once and kept nowhere.
func (s *Store) Create(ctx context.Context, fleet string, opts Options) (text string, key Key, err error) {
	if err := validate(fleet, opts); err != nil {
		return "", Key{}, fmt.Errorf("creating an API key: %w", err)
	}
	err = s.change(ctx, func(tx *sql.Tx, now time.Time) error {
		if !opts.Admin {
			active, err := activeKeys(ctx, tx, fleet, now)
			if err != nil {
				return err
			}
			if len(active) >= MaxActive {
				return ErrTooMany
			}
		}
		text, key, err = insert(ctx, tx, fleet, opts, now)
		return err
	})
	if err != nil {
		return "", Key{}, fmt.Errorf("creating an API key: %w", err)
	}
	return text, key, nil
}

func validate(fleet string, opts Options) error {
	if opts.Admin {
		if fleet != "" {
			return fmt.Errorf("%w: an admin key belongs to no fleet", ErrInvalid)
		}
		return nil
	}
	if len(opts.Name) > 200 {
		return fmt.Errorf("%w: the name is longer than 200 bytes", ErrInvalid)
	}
	return ValidFleet(fleet)
}

// Rotate makes a new key for the fleet. The newest active key stays valid for
// the grace period (at most until its own expiry), older ones are revoked.
func (s *Store) Rotate(ctx context.Context, fleet string, grace time.Duration, opts Options) (text string, key Key, err error) {
	if err = validate(fleet, opts); err == nil && grace < 0 {
		err = fmt.Errorf("%w: the grace period is negative", ErrInvalid)
	}
	if err == nil {
		err = s.change(ctx, func(tx *sql.Tx, now time.Time) error {
			active, err := activeKeys(ctx, tx, fleet, now)
			if err != nil {
				return err
			}
			for i, old := range active { // newest first
				column, at := "expires_at", now.Add(grace)
				if i > 0 || grace == 0 {
					column, at = "revoked_at", now
				} else if old.ExpiresAt != nil && old.ExpiresAt.Before(at) {
					continue
				}
				if _, err := tx.ExecContext(ctx, `UPDATE api_key SET `+column+` = $1 WHERE id = $2`, at.UnixMicro(), old.ID); err != nil {
					return err
				}
			}
			text, key, err = insert(ctx, tx, fleet, opts, now)
			return err
		})
	}
	if err != nil {
		return "", Key{}, fmt.Errorf("rotating the API key: %w", err)
	}
	return text, key, nil
}

// Revoke ends a key. Revoking it again changes nothing.
func (s *Store) Revoke(ctx context.Context, id string) error {
	err := s.change(ctx, func(tx *sql.Tx, now time.Time) error {
		res, err := tx.ExecContext(ctx, `UPDATE api_key SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2`, now.UnixMicro(), id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrNotFound)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoking the API key: %w", err)
	}
	return nil
}

// change runs f in a transaction that no other change overlaps.
func (s *Store) change(ctx context.Context, f func(*sql.Tx, time.Time) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
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
	k := Key{ID: id, Fleet: fleet, Admin: opts.Admin, Name: opts.Name, CreatedAt: now, hash: hashOf(text)}
	var expires, admin any = nil, 0
	if !opts.ExpiresAt.IsZero() {
		if !opts.ExpiresAt.After(now) {
			return "", Key{}, fmt.Errorf("%w: the expiry is not in the future", ErrInvalid)
		}
		at := opts.ExpiresAt.UTC().Truncate(time.Microsecond)
		k.ExpiresAt, expires = &at, at.UnixMicro()
	}
	if k.Admin {
		admin = 1
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO api_key (id, hash, fleet, admin, name, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, id, k.hash[:], fleet, admin, opts.Name, now.UnixMicro(), expires)
	return text, k, err
}
