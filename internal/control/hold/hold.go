// Package hold keeps legal holds: fleets of which nothing may be deleted, with who said so, why and since when.
// Whatever deletes - retention, erasure, a bucket's lifecycle rules - asks here first and deletes nothing without an
// answer. The package imports no room of plugins.
package hold

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/internal/control/apikey"
	"weir/internal/lifecycle/expire"
	"weir/internal/platform/sqldb"
)

// Hold forbids deleting anything of a fleet.
type Hold struct {
	Fleet    string    `json:"fleet"`
	Reason   string    `json:"reason"`
	PlacedBy string    `json:"placed_by"` // the public id of an API key, or a user at the command line
	Since    time.Time `json:"since"`

	ReleasedBy string     `json:"released_by,omitempty"`
	ReleasedAt *time.Time `json:"released_at,omitempty"` // nil while in force
}

// The errors that callers distinguish.
var (
	errNotFound = errors.New("the fleet is not held")
	errInvalid  = errors.New("invalid hold")
)

// maxText is the maximum length of a reason in bytes.
const maxText = 2000

// Store keeps holds in the control store. A released hold stays as history until retention deletes it with the audit
// log.
type Store struct {
	db  *sqldb.DB
	now func() time.Time
}

func migrations() []sqldb.Migration {
	table := `CREATE TABLE legal_hold (
		fleet TEXT NOT NULL, reason TEXT NOT NULL, placed_by TEXT NOT NULL, placed_at BIGINT NOT NULL,
		released_by TEXT NOT NULL, released_at BIGINT NOT NULL, PRIMARY KEY (fleet, placed_at));
		CREATE UNIQUE INDEX legal_hold_in_force ON legal_hold (fleet) WHERE released_at = 0;`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// Open creates or migrates the table of holds.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "legal_hold", migrations()); err != nil {
		return nil, fmt.Errorf("opening the store of holds: %w", err)
	}
	return &Store{db: db, now: time.Now}, nil
}

const columns = `fleet, reason, placed_by, placed_at, released_by, released_at`

// Held returns the hold in force of a fleet, or false. After an error the caller must treat the fleet as held.
func (s *Store) Held(ctx context.Context, fleet string) (Hold, bool, error) {
	h, err := scan(s.db.QueryRowContext(ctx, `SELECT `+columns+` FROM legal_hold WHERE fleet = $1 AND released_at = 0`,
		fleet))
	if errors.Is(err, sql.ErrNoRows) {
		return Hold{}, false, nil
	} else if err != nil {
		return Hold{}, false, fmt.Errorf("reading whether fleet %q is held: %w", fleet, err)
	}
	return h, true, nil
}

// Fleets returns the fleets that are held now. After an error the caller must delete nothing.
func (s *Store) Fleets(ctx context.Context) ([]string, error) {
	holds, err := s.List(ctx, false)
	if err != nil {
		return nil, err
	}
	fleets := make([]string, len(holds))
	for i, h := range holds {
		fleets[i] = h.Fleet
	}
	return fleets, nil
}

// List returns the holds in force, ordered by fleet; with past also the released ones.
func (s *Store) List(ctx context.Context, past bool) ([]Hold, error) {
	where := ` WHERE released_at = 0`
	if past {
		where = ``
	}
	holds, err := sqldb.All(ctx, s.db, scan, `SELECT `+columns+` FROM legal_hold`+where+
		` ORDER BY fleet, placed_at, released_at`)
	if err != nil {
		return nil, fmt.Errorf("reading holds: %w", err)
	}
	return holds, nil
}

// Place holds a fleet. When it returns nil, every deletion that starts from now on spares the fleet; one under way
// ends with its current object or chunk of a few thousand rows. If the fleet is already held, the existing hold is
// returned unchanged.
func (s *Store) Place(ctx context.Context, fleet, reason, by string) (Hold, error) {
	h := Hold{Fleet: fleet, Reason: strings.TrimSpace(reason), PlacedBy: by,
		Since: s.now().UTC().Truncate(time.Microsecond)}
	if err := apikey.ValidFleet(fleet); err != nil {
		return h, fmt.Errorf("%w: %w", errInvalid, err)
	}
	if h.Reason == "" || len(h.Reason) > maxText {
		return h, fmt.Errorf("%w: give a reason, of at most %d bytes, for those who read it later", errInvalid, maxText)
	}
	if _, err := s.db.ExecContext(ctx, `INSERT INTO legal_hold (`+columns+
		`) VALUES ($1, $2, $3, $4, '', 0) ON CONFLICT DO NOTHING`,
		h.Fleet, h.Reason, h.PlacedBy, h.Since.UnixMicro()); err != nil {
		return h, fmt.Errorf("holding fleet %q: %w", fleet, err)
	}
	kept, ok, err := s.Held(ctx, fleet)
	if err == nil && !ok {
		err = fmt.Errorf("holding fleet %q: it was released meanwhile", fleet)
	}
	return kept, err
}

// Release ends a hold; errNotFound if the fleet is not held. The next run of retention deletes what grew too old
// meanwhile.
func (s *Store) Release(ctx context.Context, fleet, by string) (Hold, error) {
	h, ok, err := s.Held(ctx, fleet)
	if err != nil {
		return h, err
	} else if !ok {
		return h, errNotFound
	}
	at := s.now().UTC().Truncate(time.Microsecond)
	res, err := s.db.ExecContext(ctx, `UPDATE legal_hold SET released_by = $1, released_at = $2 WHERE fleet = $3 AND released_at = 0`,
		by, at.UnixMicro(), fleet)
	if err != nil {
		return h, fmt.Errorf("releasing fleet %q: %w", fleet, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return h, errors.Join(err, errNotFound)
	}
	h.ReleasedBy, h.ReleasedAt = by, &at
	return h, nil
}

func scan(row sqldb.Row) (h Hold, err error) {
	var placed, released int64
	if err := row.Scan(&h.Fleet, &h.Reason, &h.PlacedBy, &placed, &h.ReleasedBy, &released); err != nil {
		return h, err
	}
	h.Since = time.UnixMicro(placed).UTC()
	if released != 0 {
		at := time.UnixMicro(released).UTC()
		h.ReleasedAt = &at
	}
	return h, nil
}

// expireReleased deletes the holds that were released before a time. Holds in force are never deleted.
func expireReleased(ctx context.Context, db *sqldb.DB, p expire.Pass, before time.Time) (expire.Removed, error) {
	return expire.Rows{Table: "legal_hold", Key: "fleet, placed_at", Old: "released_at > 0 AND released_at < $1",
		Fleet: "fleet"}.Expire(ctx, db, p, before)
}
