package tombstone

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"weir/internal/platform/sqldb"
)

// Target is what an erasure is about.
type Target struct {
	Job    string // counts are kept under its id
	Fleet  string
	Device string // "" is the whole fleet
	Name   bool   // Device is no device's name but one of a person: a user's id or an anonymous one
	Until  Micros // received up to then
	Buried Micros // all stores have had the tombstone since
}

// Who is what an erasure is about: a device, a name of a person, or, when it is zero,
// a whole fleet.
type Who struct {
	Device string
	Name   bool // Device is no device's name but one of a person
}

// Who is what the target is about.
func (t Target) Who() Who { return Who{t.Device, t.Name} }

// Stone is the tombstone of what the target is about.
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

// Add adds to what an erasure has deleted, in the transaction that deletes it:
// a crash neither forgets a number nor counts it twice.
func Add(ctx context.Context, tx execer, job, what string, n int64) error {
	if n == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, AddQuery, job, what, n)
	return err
}

// AddQuery is Add's statement: job, what, n.
const AddQuery = `INSERT INTO erased_count (job, what, part, n) VALUES ($1, $2, '', $3)
	ON CONFLICT (job, what, part) DO UPDATE SET n = erased_count.n + excluded.n`

// Note notes how much of one part - an object - is about to be deleted. Noting
// it again replaces the number.
func Note(ctx context.Context, tx execer, job, what, part string, n int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO erased_count (job, what, part, n) VALUES ($1, $2, $3, $4)
		ON CONFLICT (job, what, part) DO UPDATE SET n = excluded.n`, job, what, part, n)
	return err
}

// Counts adds up what an erasure has deleted, by what it was. A database that is
// asked twice is counted once.
func Counts(ctx context.Context, db *sqldb.DB, job string, into map[string]int64) error {
	err := sqldb.Each(ctx, db, func(row sqldb.Row) error {
		var what string
		var n int64
		if err := row.Scan(&what, &n); err != nil {
			return err
		}
		into[what] = n
		return nil
	}, `SELECT what, sum(n) FROM erased_count WHERE job = $1 GROUP BY what`, job)
	if err != nil {
		return fmt.Errorf("counting what was erased: %w", err)
	}
	return nil
}

// Forget drops the counts of an erasure, once its receipt has them.
func Forget(ctx context.Context, db *sqldb.DB, job string) error {
	if _, err := db.ExecContext(ctx, `DELETE FROM erased_count WHERE job = $1`, job); err != nil {
		return fmt.Errorf("dropping the counts of an erasure: %w", err)
	}
	return nil
}
