package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
)

// recount tells what the table has: of one that is replaced, all of its rows; else
// what it notes of the run, since rows of others are among them.
func (t *postgresTable) recount(ctx context.Context, r *Report) (rows int64, sum string, err error) {
	if t.mode != modeReplace {
		conn, err := t.connect(ctx, map[string]string{"default_transaction_read_only": "on"})
		if err != nil {
			return 0, "", err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it was only read
		err = conn.QueryRow(ctx, "SELECT rows, sha256 FROM "+t.loads()+" WHERE sink = $1 AND run = $2", t.table,
			r.Run).Scan(&rows, &sum)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, "", errNoLoad
		}
		if err != nil {
			return 0, "", t.refused("asking", err)
		}
		return rows, sum, nil
	}
	columns, err := columnsOf(r.Columns)
	if err != nil {
		return 0, "", err
	}
	asked := make([]string, len(columns))
	for i, c := range columns {
		asked[i] = pgx.Identifier{c.name}.Sanitize()
		if c.of.kind == kindDecimal { // which the table may have with more digits, or without a bound
			asked[i] += "::text AS " + asked[i]
		}
	}
	in, err := postgresSource{postgresServer: t.postgresServer, query: "SELECT " + strings.Join(asked, ", ") + " FROM " +
		quoted(t.table)}.open(ctx)
	if err != nil {
		return 0, "", err
	}
	defer in.close()
	if err := in.from(ctx, ""); err != nil {
		return 0, "", err
	}
	e := newTableEncoder(columns, make([]int, len(columns)))
	for {
		row, _, err := in.next()
		if errors.Is(err, io.EOF) {
			return rows, e.sum.hex(), nil
		}
		if err != nil {
			return 0, "", err
		}
		for i, c := range columns {
			if c.of.kind == kindDecimal && !row[i].null {
				if row[i].text, err = c.of.canonical(row[i].text); err != nil {
					return 0, "", dataError{fmt.Errorf("column %q: %w", c.name, err)}
				}
			}
		}
		if err := e.write(row); err != nil {
			return 0, "", err
		}
		rows++
	}
}

// errNoLoad says that a table knows nothing of a run.
var errNoLoad = errors.New("the table has no note of this run")
