package anomaly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// memory is the state that outlives the process: a device's firmware, since when its baseline is
// learned, the baseline, and its open alerts.
type memory struct {
	db     *sqldb.DB
	tables *tables
}

// known is what is stored of a device.
type known struct {
	stored       bool // it has a row
	firmware     string
	learningFrom int64
	usualDay     int32
	usual        map[string]stats // by metric; m2 is the standard deviation
	open         []openAlert
	minutes      []minute
}

type openAlert struct {
	id, rule, severity, metric string
	since                      int64
}

// devices reads the rows of devices of a fleet into known, which must have an entry for each.
func (m memory) devices(ctx context.Context, fleet string, devices []string, known map[string]*known) error {
	return sqldb.Each(ctx, m.db, func(row sqldb.Row) error {
		var device, firmware, usual string
		var from int64
		var day int32
		if err := row.Scan(&device, &firmware, &from, &day, &usual); err != nil {
			return err
		}
		k := known[device]
		k.stored, k.firmware, k.learningFrom, k.usualDay = true, firmware, from, day
		return k.parseUsual(usual)
	}, `SELECT device_id, firmware, learning_from, usual_day, usual FROM anomaly_device
		WHERE fleet = $1 AND device_id `+m.db.Dialect.Among("$2"), fleet, m.db.Dialect.List(devices))
}

func (k *known) parseUsual(raw string) error {
	var usual map[string][3]float64
	if err := json.Unmarshal([]byte(raw), &usual); err != nil {
		return fmt.Errorf("reading a baseline: %w", err)
	}
	k.usual = make(map[string]stats, len(usual))
	for metric, u := range usual {
		k.usual[metric] = stats{u[0], u[1], u[2]}
	}
	return nil
}

// alerts reads the open alerts of devices of a fleet, from the view that the alert store provides
// for this. There are none before that store has its tables.
func (m memory) alerts(ctx context.Context, fleet string, devices []string, known map[string]*known) error {
	if ok, err := m.tables.have(ctx, m.db, "alert_open"); !ok || err != nil {
		return err
	}
	return sqldb.Each(ctx, m.db, func(row sqldb.Row) error {
		var device string
		var o openAlert
		if err := row.Scan(&device, &o.id, &o.rule, &o.severity, &o.metric, &o.since); err != nil {
			return err
		}
		known[device].open = append(known[device].open, o)
		return nil
	}, `SELECT device_id, alert_id, rule, severity, metric, opened_at FROM alert_open
		WHERE fleet = $1 AND device_id `+m.db.Dialect.Among("$2"), fleet, m.db.Dialect.List(devices))
}

// learn is a note that a device's learning began, or its firmware changed.
type learn struct {
	firmware string
	from     int64
	void     bool // earlier baselines are void
}

// save stores notes in one transaction. It may be repeated, and other processes may save meanwhile:
// the later beginning of learning wins.
func (m memory) save(ctx context.Context, noted map[deviceKey]learn) error {
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("storing what devices learn: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it ends the statements, too
	const note = `INSERT INTO anomaly_device (fleet, device_id, firmware, learning_from) VALUES ($1, $2, $3, $4)
			ON CONFLICT (fleet, device_id) DO UPDATE SET firmware = excluded.firmware`
	noting, err1 := tx.PrepareContext(ctx, note)
	voiding, err2 := tx.PrepareContext(ctx, note+`, learning_from = excluded.learning_from, usual_day = -1, usual = '{}'
				WHERE anomaly_device.learning_from < excluded.learning_from`)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("storing what devices learn: %w", err)
	}
	for key, l := range noted {
		stmt := noting
		if l.void {
			stmt = voiding
		}
		if _, err := stmt.ExecContext(ctx, key.fleet, key.device, l.firmware, l.from); err != nil {
			return fmt.Errorf("storing what devices learn: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("storing what devices learn: %w", err)
	}
	return nil
}

// newestDay returns the last day for which baselines were computed; -1: none.
func (m memory) newestDay(ctx context.Context) (day int32, err error) {
	if err := m.db.QueryRowContext(ctx, `SELECT coalesce(max(day), -1) FROM anomaly_day`).Scan(&day); err != nil {
		return -1, fmt.Errorf("reading the day of the baselines: %w", err)
	}
	return day, nil
}

// learning returns since when each device is learned.
func (m memory) learning(ctx context.Context) (map[deviceKey]int64, error) {
	from := map[deviceKey]int64{}
	err := sqldb.Each(ctx, m.db, func(row sqldb.Row) error {
		var key deviceKey
		var at int64
		if err := row.Scan(&key.fleet, &key.device, &at); err != nil {
			return err
		}
		from[key] = at
		return nil
	}, `SELECT fleet, device_id, learning_from FROM anomaly_device`)
	if err != nil {
		return nil, fmt.Errorf("reading since when devices learn: %w", err)
	}
	return from, nil
}

// usualChunk bounds the rows of one transaction, so that others do not wait for long.
const usualChunk = 500

// storeUsual replaces the baselines by those of a day, and then records that the day is done. After
// a crash, some are replaced, and the day is computed again. A device whose learning began anew
// meanwhile keeps its void baseline.
func (m memory) storeUsual(ctx context.Context, day int32, usual map[deviceKey]map[string]stats,
	learning map[deviceKey]int64, now time.Time) error {
	keys := make([]deviceKey, 0, len(usual))
	for key := range usual {
		keys = append(keys, key)
	}
	for len(keys) > 0 {
		chunk := keys[:min(usualChunk, len(keys))]
		keys = keys[len(chunk):]
		if err := m.storeChunk(ctx, day, chunk, usual, learning); err != nil {
			return fmt.Errorf("storing baselines: %w", err)
		}
	}
	_, err := m.db.ExecContext(ctx, `INSERT INTO anomaly_day (day, computed_at, devices) VALUES ($1, $2, $3)
		ON CONFLICT (day) DO UPDATE SET computed_at = excluded.computed_at, devices = excluded.devices`, day, now.UnixMicro(), len(usual))
	if err != nil {
		return fmt.Errorf("storing the day of the baselines: %w", err)
	}
	return nil
}

func (m memory) storeChunk(ctx context.Context, day int32, keys []deviceKey, usual map[deviceKey]map[string]stats,
	learning map[deviceKey]int64) error {
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it ends the statement, too
	stmt, err := tx.PrepareContext(ctx, `UPDATE anomaly_device SET usual_day = $3, usual = $4
			WHERE fleet = $1 AND device_id = $2 AND learning_from = $5`)
	if err != nil {
		return err
	}
	for _, key := range keys {
		packed := map[string][3]float64{}
		for metric, s := range usual[key] {
			packed[metric] = [3]float64{s.n, s.mean, s.stddev()}
		}
		raw, err := json.Marshal(packed)
		if err != nil {
			return err
		}
		if _, err := stmt.ExecContext(ctx, key.fleet, key.device, day, string(raw), learning[key]); err != nil {
			return err
		}
	}
	return tx.Commit()
}
