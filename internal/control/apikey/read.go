package apikey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

const columns = `id, hash, fleet, admin, name, created_at, expires_at, revoked_at, last_used_at, scopes, device_prefix, replaced_by`

// List returns the keys of a fleet, or of all fleets when fleet is empty, newest first, including revoked and expired
// ones.
func (s *Store) List(ctx context.Context, fleet string) ([]Key, error) {
	keys, err := sqldb.All(ctx, s.db, scan, `SELECT `+columns+` FROM api_key WHERE $1 = '' OR fleet = $1 ORDER BY created_at DESC, id`, fleet)
	if err != nil {
		return nil, fmt.Errorf("listing API keys: %w", err)
	}
	return keys, nil
}

// get returns one key by its id.
func (s *Store) get(ctx context.Context, id string) (Key, error) {
	keys, err := sqldb.All(ctx, s.db, scan, `SELECT `+columns+` FROM api_key WHERE id = $1`, id)
	if err == nil && len(keys) == 0 {
		err = errNotFound
	}
	if err != nil {
		return Key{}, fmt.Errorf("reading the API key: %w", err)
	}
	return keys[0], nil
}

// lookup returns the active key with this text from the store, ErrUnknown when there is none. Cache.Check does the
// same from memory.
func (s *Store) lookup(ctx context.Context, text string) (Key, error) {
	id, ok := idOf(text)
	if !ok {
		return Key{}, ErrUnknown
	}
	k, err := s.get(ctx, id)
	if errors.Is(err, errNotFound) {
		return Key{}, ErrUnknown
	}
	if err != nil {
		return Key{}, err
	}
	if err := k.accepts(text, time.Now()); err != nil {
		return Key{}, err
	}
	return k, nil
}

// changes returns the counter that every change of a key increments.
func (s *Store) changes(ctx context.Context) (n int64, err error) {
	if err = s.db.QueryRowContext(ctx, `SELECT n FROM api_key_change`).Scan(&n); err != nil {
		return 0, fmt.Errorf("polling API keys: %w", err)
	}
	return n, nil
}

// touch writes times of last use, in microseconds since 1970. A time never moves back.
func (s *Store) touch(ctx context.Context, used map[string]int64) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("noting the use of API keys: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	for id, at := range used {
		if _, err := tx.ExecContext(ctx, `UPDATE api_key SET last_used_at = $1
			WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)`, at, id); err != nil {
			return fmt.Errorf("noting the use of API keys: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("noting the use of API keys: %w", err)
	}
	return nil
}

// scan reads a row of columns.
func scan(row sqldb.Row) (k Key, err error) {
	var hash []byte
	var admin, created int64
	var expires, revoked, used sql.NullInt64
	var scopes sql.NullString
	if err := row.Scan(&k.ID, &hash, &k.Fleet, &admin, &k.Name, &created, &expires, &revoked, &used,
		&scopes, &k.DevicePrefix, &k.ReplacedBy); err != nil {
		return k, err
	}
	if copy(k.hash[:], hash) != len(k.hash) {
		return k, fmt.Errorf("the hash of API key %s is cut short", k.ID)
	}
	if k.Scopes = ofOld(admin != 0); scopes.Valid {
		if k.Scopes, err = ParseScopes(scopes.String); err != nil {
			return k, fmt.Errorf("reading the scopes of API key %s: %w", k.ID, err)
		}
	}
	k.Admin, k.CreatedAt = admin != 0, time.UnixMicro(created).UTC()
	k.ExpiresAt, k.RevokedAt, k.LastUsedAt = timeOf(expires), timeOf(revoked), timeOf(used)
	return k, nil
}

func timeOf(n sql.NullInt64) *time.Time {
	if !n.Valid {
		return nil
	}
	t := time.UnixMicro(n.Int64).UTC()
	return &t
}
