package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// countMembers is the name under which erasures count removed memberships.
const countMembers = "group_memberships"

// count returns in how many groups a device is, or, when device is "", how many devices the groups of a fleet have.
func count(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	s, err := Open(ctx, db)
	if err != nil {
		return nil, err
	}
	groups, err := s.list(ctx, fleet)
	if err != nil {
		return nil, err
	}
	n := int64(0)
	for _, g := range groups {
		n += g.members(fleet, device)
	}
	return map[string]int64{countMembers: n}, nil
}

// members counts what an erasure removes from the group. A device is removed also from groups that all fleets share;
// the erasure of a fleet leaves those alone.
func (g *Group) members(fleet, device string) int64 {
	switch {
	case device != "" && slices.Contains(g.Devices, device):
		return 1
	case device == "" && g.Fleet == fleet:
		return int64(len(g.Devices))
	}
	return 0
}

// erase removes a device from the groups of its fleet and from shared ones, or deletes all groups of a fleet when
// t.Device is "". It is one transaction, may be run again, and counts what it removes once.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	if _, err := Open(ctx, db); err != nil {
		return err
	}
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		groups, err := sqldb.All(ctx, tx, scan, `SELECT fleet, name, devices, updated_at FROM device_group WHERE fleet IN ($1, '')
			ORDER BY fleet, name`+db.ForUpdate(), t.Fleet)
		if err != nil {
			return err
		}
		total := int64(0)
		for _, g := range groups {
			n := g.members(t.Fleet, t.Device)
			if total += n; n == 0 && (t.Device != "" || g.Fleet != t.Fleet) {
				continue
			}
			if err := g.erase(ctx, tx, t.Device); err != nil {
				return err
			}
		}
		return tombstone.Add(ctx, tx, t.Job, countMembers, total)
	})
	if err != nil {
		return fmt.Errorf("erasing from groups: %w", err)
	}
	return nil
}

func (g *Group) erase(ctx context.Context, tx *sql.Tx, device string) error {
	if device == "" {
		_, err := tx.ExecContext(ctx, `DELETE FROM device_group WHERE fleet = $1 AND name = $2`, g.Fleet, g.Name)
		return err
	}
	raw, err := json.Marshal(slices.DeleteFunc(g.Devices, func(d string) bool { return d == device }))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE device_group SET devices = $3 WHERE fleet = $1 AND name = $2`, g.Fleet, g.Name,
		string(raw))
	return err
}
