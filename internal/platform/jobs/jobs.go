// Package jobs leases work that is stored as rows of a SQL table: at any time one process owns a row. The work of a
// crashed process is taken by another when the lease expires; a process that was too slow gets ErrLost when it next
// changes its row.
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

// ErrLost says that another process owns the row now: stop, and save nothing.
var ErrLost = errors.New("another process has the work")

// Table describes the table with the work. It has columns for the owner and for the end of the lease, in microseconds
// since 1970.
type Table struct {
	DB    *sqldb.DB
	Name  string
	Key   string        // column of the row's id
	Until string        // column of the lease's end
	Owner string        // column of the owner; "": the row has none, and Renew, Release and Change cannot be used
	Lease time.Duration // how long a row stays with a silent owner, and so the delay after a crash

	// Work is the SQL condition of rows that may be taken, and Order sorts them. $1 is the time in microseconds; $2
	// and on are Args.
	Work, Order string
	Args        []any
}

// Take leases the first available row to owner and returns its id, or "" when there is none or another process was
// faster. set, if not empty, is SQL of further changes ("state = 'running'"), with $1 as in Work. The lease is
// committed when Take returns.
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

// Renew extends the lease from now on and applies set, whose parameters start at $4. It returns ErrLost when owner no
// longer owns the row.
func (t Table) Renew(ctx context.Context, owner, id string, now time.Time, set string, args ...any) error {
	kept := t.Until + ` = $3`
	if set != "" {
		kept += `, ` + set
	}
	return t.Change(ctx, owner, id, kept, append([]any{now.Add(t.Lease).UnixMicro()}, args...)...)
}

// Release gives up a row and applies set, whose parameters start at $3. It returns ErrLost like Renew.
func (t Table) Release(ctx context.Context, owner, id, set string, args ...any) error {
	free := t.Owner + ` = '', ` + t.Until + ` = 0`
	if set != "" {
		free += `, ` + set
	}
	return t.Change(ctx, owner, id, free, args...)
}

// Change updates a row of owner: set is SQL whose parameters start at $3. It returns ErrLost when owner no longer
// owns the row.
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
