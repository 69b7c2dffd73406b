package anomaly

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// countBaselines is the label under which erased baselines are counted.
const countBaselines = "anomaly_baselines"

// count returns how many baselines are stored of a device, or, for "", of a fleet.
func count(ctx context.Context, db *sqldb.DB, fleet, device string) (map[string]int64, error) {
	n := int64(0)
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM anomaly_device WHERE fleet = $1 AND ($2 = '' OR device_id = $2)`, fleet, device).Scan(&n); err != nil {
		return nil, fmt.Errorf("counting baselines: %w", err)
	}
	return map[string]int64{countBaselines: n}, nil
}

// erase deletes what is stored of a device, or of a fleet, if its learning began before the
// target's time. Detectors store it again until they know the tombstone: call erase once more after
// that. Each deleted row is counted once.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM anomaly_device WHERE fleet = $1 AND ($2 = '' OR device_id = $2) AND learning_from <= $3`,
			t.Fleet, t.Device, t.Until)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		return errors.Join(err, tombstone.Add(ctx, tx, t.Job, countBaselines, n))
	})
	if err != nil {
		return fmt.Errorf("erasing baselines: %w", err)
	}
	return nil
}

// honour reads the tombstones of the control store, and forgets the devices that they cover. It
// forgets them at each call, because a device may have been loaded from the stores before its rows
// were erased.
func (d *detector) honour(ctx context.Context) error {
	if d.stores.controlURL == "" {
		return nil
	}
	m, _, err := d.stores.open(ctx)
	if errors.Is(err, errPaused) {
		return nil
	} else if err != nil {
		return err
	}
	if ok, err := hasTable(ctx, m.db, "erased"); !ok || err != nil {
		return err // nothing was ever erased
	}
	set, err := tombstone.Load(ctx, m.db)
	if err != nil || set == nil {
		return err
	}
	d.erased.Store(set)
	d.meters.evicted.Incr(int64(d.state.forget(set)))
	d.notes.forget(set)
	return nil
}

// forget drops the devices of which the state includes erased events.
func (s *state) forget(set *tombstone.Set) (forgotten int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, dev := range sh.devices {
			if set.Holds(dev.key.fleet, dev.key.device, dev.firstTook) {
				s.remove(sh, dev)
				forgotten++
			}
		}
		sh.mu.Unlock()
	}
	return forgotten
}

func (n *notes) forget(set *tombstone.Set) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, l := range n.list {
		if set.Holds(key.fleet, key.device, l.from) {
			delete(n.list, key)
		}
	}
}
