package tombstone

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// Target is what an erasure erases.
type Target struct {
	Job    string // id of the erasure, under which counts are kept
	Fleet  string
	Device string // "" is the whole fleet
	Name   bool   // Device is a person's user id or anonymous id, not a device
	Until  Micros // erase what was received up to then
	Buried Micros // time since when all stores have the tombstone
}

// Who identifies a device, a person's name, or, when zero, a whole fleet.
type Who struct {
	Device string
	Name   bool // Device is a person's name, not a device
}

// Who returns whom the target names.
func (t Target) Who() Who { return Who{t.Device, t.Name} }

// Stone returns the tombstone of the target.
func (t Target) Stone() Stone {
	until := time.UnixMicro(t.Until)
	if t.Name {
		return OfName(t.Fleet, t.Device, until)
	}
	return Of(t.Fleet, t.Device, until)
}

// Micros is a time in microseconds since 1970.
type Micros = int64

// execer is a database or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Add adds n to the count of what an erasure deleted. Call it in the transaction that deletes, so that a crash
// neither loses a count nor counts twice.
func Add(ctx context.Context, tx execer, job, what string, n int64) error {
	if n == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, AddQuery, job, what, n)
	return err
}

// AddQuery is the statement of Add with the arguments job, what, n.
const AddQuery = `INSERT INTO erased_count (job, what, part, n) VALUES ($1, $2, '', $3)
	ON CONFLICT (job, what, part) DO UPDATE SET n = erased_count.n + excluded.n`

// Note records how much of one part, such as an object, is about to be deleted. Noting a part again replaces its
// count.
func Note(ctx context.Context, tx execer, job, what, part string, n int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO erased_count (job, what, part, n) VALUES ($1, $2, $3, $4)
		ON CONFLICT (job, what, part) DO UPDATE SET n = excluded.n`, job, what, part, n)
	return err
}

// Counts sets in `into` what an erasure has deleted in one database, by kind.
func Counts(ctx context.Context, db *sqldb.DB, job string, into map[string]int64) error {
	err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
		var what string
		var n int64
		if err := row.Scan(&what, &n); err != nil {
			return err
		}
		into[what] = n
		return nil
	}, `SELECT what, sum(n) FROM erased_count WHERE job = $1 GROUP BY what HAVING sum(n) <> 0`, job)
	if err != nil {
		return fmt.Errorf("counting what was erased: %w", err)
	}
	return nil
}

// Forget deletes the counts of an erasure, once its receipt has them.
func Forget(ctx context.Context, db *sqldb.DB, job string) error {
	if _, err := db.ExecContext(ctx, `DELETE FROM erased_count WHERE job = $1`, job); err != nil {
		return fmt.Errorf("dropping the counts of an erasure: %w", err)
	}
	return nil
}
