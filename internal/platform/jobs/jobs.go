// Package jobs leases work that lies as rows in a SQL table, in SQLite or
// PostgreSQL: at any time one process has a row. What a crash leaves is taken by
// another when the lease ends; a process that was too slow learns that it has
// lost its row the next time that it changes it.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/internal/platform/sqldb"
)

// ErrLost says that the row is another owner's now: stop, and save nothing.
var ErrLost = errors.New("another process has the work")

// Table is where the work lies. It has a column for the end of the lease, in
// microseconds since 1970, and one for the owner.
type Table struct {
	DB    *sqldb.DB
	Name  string
	Key   string        // column of the row's id
	Until string        // column of the lease's end
	Owner string        // column of the owner; "": whoever took a row last may change it
	Lease time.Duration // how long a row stays with an owner that says nothing: what a crash delays it by

	// Work is the SQL condition of rows that may be taken and Order which comes
	// first. $1 is the time, in microseconds; $2 and on are Args.
	Work, Order string
	Args        []any
}

// Take gives the first row that may be taken to owner and returns its id, ""
// when there is none or another was quicker. Set, if not empty, is what changes
// beside ("state = 'running'"), with $1 as in Work. When it returns, the lease
// is committed.
func (t Table) Take(ctx context.Context, owner, set string, now time.Time) (id string, err error) {
	args := append([]any{now.UnixMicro()}, t.Args...)
	free := t.Until + ` <= $1 AND (` + t.Work + `)`
	err = t.DB.QueryRowContext(ctx, `SELECT `+t.Key+` FROM `+t.Name+` WHERE `+free+` ORDER BY `+t.Order+` LIMIT 1`,
		args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("looking for work in %s: %w", t.Name, err)
	}
	next := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	changes := []string{t.Until + ` = ` + next(now.Add(t.Lease).UnixMicro())}
	if t.Owner != "" {
		changes = append(changes, t.Owner+` = `+next(owner))
	}
	if set != "" {
		changes = append(changes, set)
	}
	res, err := t.DB.ExecContext(ctx, `UPDATE `+t.Name+` SET `+strings.Join(changes, `, `)+` WHERE `+t.Key+` = `+next(id)+
		` AND `+free, args...)
	if err != nil {
		return "", fmt.Errorf("taking %s of %s: %w", id, t.Name, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return "", err
	}
	return id, nil
}

// Renew keeps the lease from now on, and changes what set says, with $4 and on as
// args. It returns ErrLost to who is not the owner.
func (t Table) Renew(ctx context.Context, owner, id string, now time.Time, set string, args ...any) error {
	kept := t.Until + ` = $3`
	if set != "" {
		kept += `, ` + set
	}
	return t.Change(ctx, owner, id, kept, append([]any{now.Add(t.Lease).UnixMicro()}, args...)...)
}

// Release lets go of a row, and changes what set says, with $3 and on as args.
func (t Table) Release(ctx context.Context, owner, id, set string, args ...any) error {
	free := t.Owner + ` = '', ` + t.Until + ` = 0`
	if set != "" {
		free += `, ` + set
	}
	return t.Change(ctx, owner, id, free, args...)
}

// Change changes a row of owner's: set is SQL, with $3 and on as args. It
// returns ErrLost to who is not the owner.
func (t Table) Change(ctx context.Context, owner, id, set string, args ...any) error {
	res, err := t.DB.ExecContext(ctx, `UPDATE `+t.Name+` SET `+set+` WHERE `+t.Key+` = $1 AND `+t.Owner+` = $2`,
		append([]any{id, owner}, args...)...)
	if err != nil {
		return fmt.Errorf("saving %s of %s: %w", id, t.Name, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("saving %s of %s: %w", id, t.Name, err)
	}
	if n == 0 {
		return ErrLost
	}
	return nil
}
