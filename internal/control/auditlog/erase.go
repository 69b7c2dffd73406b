package auditlog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// erasedName replaces the name of an erased device in an entry.
const erasedName = "(erased)"

// countEntries is the name under which erasures count changed entries.
const countEntries = "audit_log_entries"

// named is an entry whose detail may name a device.
type named struct {
	id, key, user, fleet, method, path, detail, peer string
	at                                               int64
	status                                           int
}

// countNaming counts the entries that name a device of a fleet.
func countNaming(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	if _, err := Open(ctx, db); err != nil {
		return nil, err
	}
	n := int64(0)
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		list, err := naming(ctx, tx, fleet, device, ``)
		n = int64(len(list))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counting entries of the audit log: %w", err)
	}
	return map[string]int64{countEntries: n}, nil
}

// erase replaces the name of a device in the audit log; who did what, when and why stays. An erasure of a fleet
// changes nothing, because entries about a fleet do not name its devices. It is one transaction, may be run again,
// and counts each entry once.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	if t.Device == "" {
		return nil
	}
	if _, err := Open(ctx, db); err != nil {
		return err
	}
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		list, err := naming(ctx, tx, t.Fleet, t.Device, db.ForUpdate())
		if err != nil {
			return err
		}
		for _, e := range list { // a trigger forbids UPDATE: delete the entry and insert it anew
			if _, err := tx.ExecContext(ctx, `DELETE FROM audit_log WHERE id = $1`, e.id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO audit_log (id, at, key_id, local_user, fleet, method, path, detail, peer, status)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, e.id, e.at, e.key, e.user, e.fleet, e.method, e.path, e.without(t.Device), e.peer, e.status); err != nil {
				return err
			}
		}
		return tombstone.Add(ctx, tx, t.Job, countEntries, int64(len(list)))
	})
	if err != nil {
		return fmt.Errorf("erasing from the audit log: %w", err)
	}
	return nil
}

// naming finds the entries whose detail names a device, except those of other fleets, in order of id. lock is
// appended to the query.
func naming(ctx context.Context, tx *sql.Tx, fleet, device, lock string) (list []named, err error) {
	if device == "" {
		return nil, nil
	}
	pattern := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(device) + "%"
	err = sqldb.Each(ctx, tx, func(row sqldb.Row) error {
		var e named
		if err := row.Scan(&e.id, &e.at, &e.key, &e.user, &e.fleet, &e.method, &e.path, &e.detail, &e.peer,
			&e.status); err != nil {
			return err
		}
		if e.of(fleet) && e.without(device) != e.detail {
			list = append(list, e)
		}
		return nil
	}, `SELECT id, at, key_id, local_user, fleet, method, path, detail, peer, status FROM audit_log
		WHERE detail LIKE $1 ESCAPE '\' ORDER BY id`+lock, pattern)
	return list, err
}

// of tells whether the entry may be about a fleet. An entry of another fleet's key, or whose detail names another
// fleet, means another device of the same name.
func (e *named) of(fleet string) bool {
	var detail struct{ Fleet string }
	if json.Unmarshal([]byte(e.detail), &detail) != nil { // treat it as naming no fleet
		detail.Fleet = ""
	}
	return (e.fleet == "" || e.fleet == fleet) && (detail.Fleet == "" || detail.Fleet == fleet)
}

// without returns the detail with the device's name replaced. A longer name that contains it stays.
func (e *named) without(device string) string {
	var detail map[string]any
	if json.Unmarshal([]byte(e.detail), &detail) != nil {
		return e.detail
	}
	changed := false
	for name, v := range detail {
		if text, ok := v.(string); ok {
			if cut := tombstone.Without(text, device, erasedName); cut != text {
				detail[name], changed = cut, true
			}
		}
	}
	if !changed {
		return e.detail
	}
	raw, err := json.Marshal(detail)
	if err != nil { // cannot happen: it was decoded from JSON
		return e.detail
	}
	return string(raw)
}
