package etl

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// take claims a table for a run, as an object is claimed: in a row of
// _weir_etl_claims beside it. A table that is replaced has one pipeline; others may
// have several, of which each comes once.
func (t *postgresTable) take(ctx context.Context, o Options, mine claim) error {
	return t.within(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT pipeline, state, running, since, replaces FROM "+t.claims()+
			" WHERE sink = $1 FOR UPDATE", t.table)
		if err != nil {
			return t.refused("asking", err)
		}
		var others []claim
		replaces := t.mode == modeReplace
		for rows.Next() {
			var c claim
			var replaced bool
			if err := rows.Scan(&c.Pipeline, &c.State, &c.Running, &c.Since, &replaced); err != nil {
				return t.refused("asking", err)
			}
			if c.Pipeline == mine.Pipeline && c.State != mine.State && c.Running ||
				c.Pipeline != mine.Pipeline && (replaces || replaced) {
				others = append(others, c)
			}
		}
		if err := rows.Err(); err != nil {
			return t.refused("asking", err)
		}
		for _, c := range others {
			if !o.TakeOver {
				return c.refuse("table")
			}
			o.Tell(fmt.Sprintf("table %s: taken over from pipeline %s of state %s", t.table, c.Pipeline, c.State))
			if _, err := tx.Exec(ctx, "DELETE FROM "+t.claims()+" WHERE sink = $1 AND pipeline = $2", t.table,
				c.Pipeline); err != nil {
				return t.refused("writing to", err)
			}
		}
		_, err = tx.Exec(ctx, "INSERT INTO "+t.claims()+" (sink, pipeline, state, running, since, replaces) VALUES "+
			"($1, $2, $3, true, $4, $5) ON CONFLICT (sink, pipeline) DO UPDATE SET state = $3, running = true, since = $4, "+
			"replaces = $5", t.table, mine.Pipeline, mine.State, mine.Since, replaces)
		if err != nil {
			return t.refused("writing to", err)
		}
		return nil
	})
}

// own holds the claim of a run until the end of the transaction, or says that it is
// another's.
func (t *postgresTable) own(ctx context.Context, tx pgx.Tx, pipeline, id string) error {
	var state string
	switch err := tx.QueryRow(ctx, "SELECT state FROM "+t.claims()+" WHERE sink = $1 AND pipeline = $2 FOR UPDATE",
		t.table, pipeline).Scan(&state); {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return t.refused("asking", err)
	case state != id:
		return dataError{errors.New("its claim was taken over: run again, when the other one is at its end")}
	}
	return nil
}

// release says that this run writes no more.
func (t *postgresTable) release(ctx context.Context, pipeline, id string) error {
	return t.within(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE "+t.claims()+" SET running = false WHERE sink = $1 AND pipeline = $2 "+
			"AND state = $3", t.table, pipeline, id); err != nil {
			return t.refused("writing to", err)
		}
		return nil
	})
}
