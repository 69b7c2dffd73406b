package etl

import (
	"context"
	"errors"
	"fmt"
)

// take claims a table for a run, in a row of the table _weir_etl_claims beside it. A table that is
// replaced has one pipeline; another may have several, each with one run at a time.
func (t *dbTable) take(ctx context.Context, o Options, mine claim) error {
	return t.within(ctx, nil, func(ctx context.Context, s dbSession) error {
		var others []claim
		replaces := t.mode == modeReplace
		if err := s.query(ctx, func(scan func(...any) error) error {
			var c claim
			var replaced bool
			if err := scan(&c.Pipeline, &c.State, &c.Running, &c.Since, &replaced); err != nil {
				return err
			}
			if c.Pipeline == mine.Pipeline && c.State != mine.State && c.Running ||
				c.Pipeline != mine.Pipeline && (replaces || replaced) {
				others = append(others, c)
			}
			return nil
		}, "SELECT pipeline, state, running, since, replaces FROM "+t.claims()+" WHERE sink = ? FOR UPDATE",
			t.table); err != nil {
			return err
		}
		for _, c := range others {
			if !o.TakeOver {
				return c.refuse("table")
			}
			o.Tell(fmt.Sprintf("table %s: taken over from pipeline %s of state %s", t.table, c.Pipeline, c.State))
			if err := s.exec(ctx, "DELETE FROM "+t.claims()+" WHERE sink = ? AND pipeline = ?", t.table,
				c.Pipeline); err != nil {
				return err
			}
		}
		return s.exec(ctx, t.put(t.claims(), []string{"sink", "pipeline"}, []string{"state", "running", "since", "replaces"}),
			t.table, mine.Pipeline, mine.State, true, mine.Since, replaces)
	})
}

// own locks the claim of a run until the end of the transaction. It returns a dataError when
// another state has taken it over.
func (t *dbTable) own(ctx context.Context, s dbSession, pipeline, id string) error {
	var state string
	if err := s.query(ctx, func(scan func(...any) error) error { return scan(&state) },
		"SELECT state FROM "+t.claims()+" WHERE sink = ? AND pipeline = ? FOR UPDATE", t.table, pipeline); err != nil {
		return err
	}
	if state != id {
		return dataError{errors.New("its claim was taken over: run again, when the other one is at its end")}
	}
	return nil
}

// release marks the claim of this run as no longer running.
func (t *dbTable) release(ctx context.Context, pipeline, id string) error {
	return t.within(ctx, nil, func(ctx context.Context, s dbSession) error {
		return s.exec(ctx, "UPDATE "+t.claims()+" SET running = false WHERE sink = ? AND pipeline = ? AND state = ?",
			t.table, pipeline, id)
	})
}
