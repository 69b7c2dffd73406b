package alert

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
)

// CountOpen returns the number of unresolved alerts of a fleet, or of all fleets and weir itself when fleet is "".
func CountOpen(ctx context.Context, db *sqldb.DB, fleet string) (n int, err error) {
	if err := db.Migrate(ctx, "alert", migrations()); err != nil {
		return 0, fmt.Errorf("counting open alerts: %w", err)
	}
	where, args := `state <> 'resolved' AND folded_into IS NULL`, []any{}
	if fleet != "" {
		where, args = where+` AND fleet = $1 AND kind <> 'pipeline'`, append(args, fleet)
	}
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM alert WHERE `+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting open alerts: %w", err)
	}
	return n, nil
}

// CountOpenOf returns the number of unresolved alerts by device; devices without any are absent.
func CountOpenOf(ctx context.Context, db *sqldb.DB, fleet string, devices []string) (map[string]int, error) {
	out := map[string]int{}
	if len(devices) == 0 {
		return out, nil
	}
	if err := db.Migrate(ctx, "alert", migrations()); err != nil {
		return nil, fmt.Errorf("counting open alerts: %w", err)
	}
	args, holes := []any{fleet}, make([]string, len(devices))
	for i, d := range devices {
		args = append(args, d)
		holes[i] = "$" + strconv.Itoa(i+2)
	}
	err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
		var device string
		var n int
		if err := row.Scan(&device, &n); err != nil {
			return err
		}
		out[device] = n
		return nil
	}, `SELECT device_id, count(*) FROM alert WHERE fleet = $1 AND device_id IN (`+
		strings.Join(holes, ", ")+`) AND state <> 'resolved' AND folded_into IS NULL GROUP BY device_id`, args...)
	if err != nil {
		return nil, fmt.Errorf("counting open alerts: %w", err)
	}
	return out, nil
}

// Mention is an alert that an event opened.
type Mention struct {
	AlertID  string    `json:"alert_id"`
	DeviceID string    `json:"device_id"`
	Rule     string    `json:"rule"`
	OpenedAt time.Time `json:"opened_at"`
}

// Of returns up to 20 metric alerts that an event of a fleet opened.
func Of(ctx context.Context, db *sqldb.DB, fleet, eventID string) ([]Mention, error) {
	if err := db.Migrate(ctx, "alert", migrations()); err != nil {
		return nil, fmt.Errorf("looking for the alerts of an event: %w", err)
	}
	list, err := sqldb.All(ctx, db, func(row sqldb.Row) (m Mention, err error) {
		var at int64
		err = row.Scan(&m.AlertID, &m.DeviceID, &m.Rule, &at)
		m.OpenedAt = time.UnixMicro(at).UTC()
		return m, err
	}, `SELECT alert_id, device_id, rule, opened_at FROM alert WHERE fleet = $1 AND event_id = $2 AND kind = 'metric'
		ORDER BY opened_at, alert_id LIMIT 20`, fleet, eventID)
	if err != nil {
		return nil, fmt.Errorf("looking for the alerts of an event: %w", err)
	}
	return list, nil
}
