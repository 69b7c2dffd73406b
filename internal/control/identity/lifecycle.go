package identity

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"weir/internal/lifecycle"
	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
)

// The names under which erasures count deleted rows.
const (
	countClaims  = "identity_claims"
	countDevices = "identity_devices"
)

// Lifecycle declares the store of aliases. They are kept until the person is erased, because sums over people depend
// on them.
func Lifecycle() lifecycle.Kind {
	return lifecycle.Rows{Name: "identities", Tables: []string{"identity_claim", "identity_device", "identity_version"},
		Prepare: lifecycle.Made(Open), Count: count, Erase: erase, People: true,
	}.Kind()
}

// The rows of a name, which may be that of a device, an anonymous id or a user, or of a whole fleet for "".
const (
	claimsOfName  = ` WHERE fleet = $1 AND ($2 = '' OR anonymous_id = $2 OR user_id = $2)`
	devicesOfName = ` WHERE fleet = $1 AND ($2 = '' OR subject = $2 OR device_id = $2)`
	// A person's name that is also a device's: rows of others on that device stay.
	devicesOfPerson = ` WHERE fleet = $1 AND subject = $2`
)

func count(ctx context.Context, db *sqldb.DB, fleet, name string) (map[string]int64, error) {
	var claims, devices int64
	if err := errors.Join(
		db.QueryRowContext(ctx, `SELECT count(*) FROM identity_claim`+claimsOfName, fleet, name).Scan(&claims),
		db.QueryRowContext(ctx, `SELECT count(*) FROM identity_device`+devicesOfName, fleet, name).Scan(&devices),
	); err != nil {
		return nil, fmt.Errorf("counting aliases: %w", err)
	}
	return map[string]int64{countClaims: claims, countDevices: devices}, nil
}

// erase deletes what was recorded of a name, or of a whole fleet for "", until t.Until. It is one transaction, may be
// run again, and counts what it deletes once. The version counter stays, so that versions are not reused, unless the
// whole fleet is erased.
func erase(ctx context.Context, db *sqldb.DB, t tombstone.Target) error {
	ofName := devicesOfName
	if t.Name {
		ofName = devicesOfPerson
	}
	err := tombstone.Update(ctx, db, func(tx *sql.Tx) error {
		if err := tombstone.Delete(ctx, tx, t.Job, countClaims, `DELETE FROM identity_claim`+claimsOfName+
			` AND recorded_at <= $3`, t.Fleet, t.Device, t.Until); err != nil {
			return err
		}
		if err := tombstone.Delete(ctx, tx, t.Job, countDevices, `DELETE FROM identity_device`+ofName+
			` AND recorded_at <= $3`, t.Fleet, t.Device, t.Until); err != nil || t.Device != "" {
			return err
		}
		// Claims recorded since keep their versions, and later ones come after them. A writer
		// that is under way has this row: the next statement sees what it claimed.
		if _, err := tx.ExecContext(ctx, `UPDATE identity_version SET version = version WHERE fleet = $1`,
			t.Fleet); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM identity_version WHERE fleet = $1 AND NOT EXISTS (
			SELECT 1 FROM identity_claim AS c WHERE c.fleet = identity_version.fleet)`, t.Fleet)
		return err
	})
	if err != nil {
		return fmt.Errorf("erasing aliases: %w", err)
	}
	return nil
}
