package alert

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/internal/platform/text"
)

// The names under which erasures count deleted rows.
const (
	countAlerts  = "alerts"
	countNotices = "alert_notices"
)

// erased tells whether the record's device or fleet was erased after its event was received.
func (r *Record) erased(set *tombstone.Set) bool {
	received := r.At
	if r.ReceivedAt != nil {
		received = *r.ReceivedAt
	}
	return r.Kind != Pipeline && set.Holds(r.Fleet, r.Device, received.UnixMicro())
}

// ofTarget is the condition of alerts to erase: $1 fleet, $2 device, $3 t.Until and $4 t.Buried. An alert recorded
// before the store had the tombstone is erased whatever its own time.
const ofTarget = `fleet = $1 AND ($2 = '' OR device_id = $2) AND (opened_at <= $3 OR recorded_at <= $4)`

// count counts the alerts of a device, or of a whole fleet when device is "", and the notices that mention them.
func count(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	if _, err := openStore(ctx, db, defaultPolicy()); err != nil {
		return nil, err
	}
	n := int64(0)
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM alert WHERE fleet = $1 AND ($2 = '' OR device_id = $2)`, fleet,
		device).Scan(&n); err != nil {
		return nil, fmt.Errorf("counting alerts: %w", err)
	}
	notices := int64(0)
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		t := tombstone.Target{Fleet: fleet, Device: device, Until: math.MaxInt64}
		list, err := noticesOf(ctx, tx, t)
		for _, n := range list {
			if n.about(t) > 0 {
				notices++
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counting notices of alerts: %w", err)
	}
	return map[string]int64{countAlerts: n, countNotices: notices}, nil
}

// erase deletes the alerts of a device, or of a whole fleet, and removes them from notices, sent or not; a notice
// about nothing else is deleted with its deliveries. The tombstone must be buried before, so that later records of
// earlier events are rejected. It may be run again, and counts what it deletes once.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	s, err := openStore(ctx, db, defaultPolicy())
	if err != nil {
		return err
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		notices, err := eraseNotices(ctx, tx, t)
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `DELETE FROM alert WHERE `+ofTarget, t.Fleet, t.Device, t.Until, t.Buried)
		if err != nil {
			return err
		}
		alerts, err := res.RowsAffected()
		return errors.Join(err, tombstone.Add(ctx, tx, t.Job, countAlerts, alerts), tombstone.Add(ctx, tx, t.Job,
			countNotices, notices))
	})
	if err != nil {
		return fmt.Errorf("erasing alerts: %w", err)
	}
	return nil
}

// told is what a notice says about alerts.
type told struct {
	id    string
	count int64
	lines []line
}

// named tells whether a line is about the target.
func (l line) named(t tombstone.Target) bool {
	return (t.Device == "" || l.Device == t.Device) && before(l.At, t.Until)
}

// about counts the lines about the target.
func (n told) about(t tombstone.Target) (lines int64) {
	for _, l := range n.lines {
		if l.named(t) {
			lines++
		}
	}
	return lines
}

func eraseNotices(ctx context.Context, tx *sql.Tx, t tombstone.Target) (changed int64, err error) {
	list, err := noticesOf(ctx, tx, t)
	if err != nil {
		return 0, err
	}
	for _, n := range list {
		gone := n.about(t)
		if gone == 0 {
			continue
		}
		changed++
		kept := slices.DeleteFunc(n.lines, func(l line) bool { return l.named(t) })
		if len(kept) == 0 && (t.Device == "" || n.count <= gone) {
			for _, query := range []string{`DELETE FROM alert_delivery WHERE notice_id = $1`,
				`DELETE FROM alert_notice WHERE notice_id = $1`} {
				if _, err := tx.ExecContext(ctx, query, n.id); err != nil {
					return 0, err
				}
			}
			continue
		}
		lines, err := json.Marshal(kept)
		if err != nil {
			return 0, err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE alert_notice SET alerts = $2, count = $3 WHERE notice_id = $1`, n.id,
			string(lines), n.count-gone); err != nil {
			return 0, err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE alert_delivery SET last_error = '' WHERE notice_id = $1`, n.id); err != nil {
			return 0, err
		}
	}
	return changed, nil
}

// noticesOf reads the notices that may mention the target.
func noticesOf(ctx context.Context, tx *sql.Tx, t tombstone.Target) ([]told, error) {
	mention := "%"
	if t.Device != "" {
		mention = `%"device_id":"` + t.Device + `"%` // "_" matches more; the lines are checked later
	}
	return sqldb.All(ctx, tx, func(row sqldb.Row) (n told, err error) {
		var lines string
		if err := row.Scan(&n.id, &n.count, &lines); err != nil {
			return n, err
		}
		return n, json.Unmarshal([]byte(lines), &n.lines)
	}, `SELECT notice_id, count, alerts FROM alert_notice WHERE fleet = $1 AND alerts LIKE $2`, t.Fleet, mention)
}

// before tells whether a line's time is at or before until. An unreadable time counts as before.
func before(instant string, until int64) bool {
	at, ok := text.ParseInstant(instant)
	return !ok || at.UnixMicro() <= until
}
