// Package group keeps device groups: names for lists of devices, in SQL. A group belongs to a fleet, or, made without
// one, is shared by all fleets. A change is atomic: a crash leaves the old group or the new one.
package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

// ErrNotFound says that there is no such group.
var ErrNotFound = errors.New("no such group")

// errInvalid is wrapped by the errors of an invalid group.
var errInvalid = errors.New("invalid group")

// errFull is wrapped by the errors of exceeded Limits.
var errFull = errors.New("too many groups")

// Limits bound the groups of a fleet, and the shared groups.
type Limits struct {
	Groups  int // of each fleet; also of the shared groups
	Devices int // of each group
}

// DefaultLimits are the limits without configuration.
func DefaultLimits() Limits { return Limits{Groups: 1000, Devices: 100_000} }

// Group is a name for devices.
type Group struct {
	Name      string    `json:"name"`
	Fleet     string    `json:"fleet,omitempty"`
	Devices   []string  `json:"devices"` // sorted
	UpdatedAt time.Time `json:"updated_at"`
}

// Store keeps groups.
type Store struct {
	db     *sqldb.DB
	limits Limits
}

func migrations() []sqldb.Migration {
	table := `CREATE TABLE device_group (
		fleet TEXT NOT NULL, name TEXT NOT NULL, devices TEXT NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (fleet, name))`
	return []sqldb.Migration{{SQLite: table, Postgres: table}}
}

// Open creates or migrates the table of groups.
func Open(ctx context.Context, db *sqldb.DB) (*Store, error) {
	if err := db.Migrate(ctx, "device_group", migrations()); err != nil {
		return nil, fmt.Errorf("opening the store of groups: %w", err)
	}
	return &Store{db, DefaultLimits()}, nil
}

// Within returns the store with other limits; existing groups stay.
func (s *Store) Within(limits Limits) *Store { return &Store{s.db, limits} }

func (g *Group) check(maxDevices int) error {
	if !event.ValidDevice(g.Name) {
		return fmt.Errorf("%w: the name must be 1 to 128 of letters, digits, '.', '_', ':' and '-'", errInvalid)
	}
	for _, d := range g.Devices {
		if !event.ValidDevice(d) {
			return fmt.Errorf("%w: %q is no device_id", errInvalid, d)
		}
	}
	slices.Sort(g.Devices)
	if g.Devices = slices.Compact(g.Devices); len(g.Devices) > maxDevices {
		return fmt.Errorf("%w: at most %d devices", errInvalid, maxDevices)
	}
	return nil
}

// Put creates a group or replaces its devices. It is committed when Put returns nil.
func (s *Store) Put(ctx context.Context, g Group) (*Group, error) {
	if err := g.check(s.limits.Devices); err != nil {
		return nil, err
	}
	if g.Devices == nil {
		g.Devices = []string{}
	}
	g.UpdatedAt = time.Now().UTC().Truncate(time.Microsecond)
	if err := s.room(ctx, g); err != nil {
		return nil, err
	}
	devices, err := json.Marshal(g.Devices)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `INSERT INTO device_group (fleet, name, devices, updated_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (fleet, name) DO UPDATE SET devices = excluded.devices, updated_at = excluded.updated_at`,
			g.Fleet, g.Name, string(devices), g.UpdatedAt.UnixMicro())
	}
	if err != nil {
		return nil, fmt.Errorf("keeping group %q: %w", g.Name, err)
	}
	return &g, nil
}

// room refuses a new group beyond the limit. Concurrent requests can exceed the limit by their number.
func (s *Store) room(ctx context.Context, g Group) error {
	var all, same int
	err := s.db.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN name = $2 THEN 1 END) FROM device_group WHERE fleet = $1`, g.Fleet, g.Name).Scan(&all, &same)
	switch {
	case err != nil:
		return fmt.Errorf("keeping group %q: %w", g.Name, err)
	case same > 0 || all < s.limits.Groups:
		return nil
	case g.Fleet == "":
		return fmt.Errorf("%w: there are %d for all fleets, as many as may be: delete one", errFull, all)
	}
	return fmt.Errorf("%w: fleet %s has %d, as many as it may have: delete one", errFull, g.Fleet, all)
}

// Get returns the group that a fleet sees under a name: its own, else the shared one, else ErrNotFound.
func (s *Store) Get(ctx context.Context, fleet, name string) (*Group, error) {
	g, err := scan(s.db.QueryRowContext(ctx, `SELECT fleet, name, devices, updated_at FROM device_group
		WHERE name = $1 AND fleet IN ($2, '') ORDER BY fleet DESC LIMIT 1`, name, fleet))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	} else if err != nil {
		return nil, fmt.Errorf("reading group %q: %w", name, err)
	}
	return g, nil
}

// list returns the groups that a fleet sees: its own and the shared ones. For "" it returns the groups of all fleets.
func (s *Store) list(ctx context.Context, fleet string) ([]*Group, error) {
	groups, err := sqldb.All(ctx, s.db, scan, `SELECT fleet, name, devices, updated_at FROM device_group
		WHERE $1 = '' OR fleet IN ($1, '') ORDER BY name, fleet`, fleet)
	if err != nil {
		return nil, fmt.Errorf("listing groups: %w", err)
	}
	return groups, nil
}

// delete removes a fleet's group, or the shared one for "". It fails with ErrNotFound when there is none.
func (s *Store) delete(ctx context.Context, fleet, name string) error {
	res, err := s.db.ExecContext(ctx, `DELETE FROM device_group WHERE fleet = $1 AND name = $2`, fleet, name)
	if err != nil {
		return fmt.Errorf("deleting group %q: %w", name, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNotFound)
	}
	return nil
}

func scan(row sqldb.Row) (*Group, error) {
	var g Group
	var devices string
	var updated int64
	if err := row.Scan(&g.Fleet, &g.Name, &devices, &updated); err != nil {
		return nil, err
	}
	g.UpdatedAt = time.UnixMicro(updated).UTC()
	return &g, json.Unmarshal([]byte(devices), &g.Devices)
}
