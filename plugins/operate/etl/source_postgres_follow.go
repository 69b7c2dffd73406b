package etl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// shape is where the columns of the table stand in a row of the log; -1: it is from
// before there was such a column.
type shape struct{ at []int }

const (
	mostQuiet  = 16 << 20         // bytes of others' changes, behind which sinks are to note that there was nothing
	quietEvery = 60 * time.Second // how often at most
)

// batch takes transactions whole, up to a commit.
func (s *postgresStream) batch(ctx context.Context, g trigger) (*logBatch, error) {
	if s.reader == nil {
		if err := s.start(ctx); err != nil {
			return nil, err
		}
	}
	b := &logBatch{from: s.stood.clone()}
	var all []change
	began, bytes := time.Now(), 0
	for len(all) < g.rows && bytes < g.bytes && !(g.until != nil && s.stood.reached(*g.until)) {
		wait := g.idle
		if len(all) > 0 {
			wait = g.every
		}
		t, err := s.following(ctx, wait-time.Since(began))
		if err != nil {
			return nil, err
		}
		if t == nil {
			break
		}
		if t.end == 0 {
			s.quiet(t.quiet, g.until)
			continue
		}
		if g.until != nil && int64(t.commit) >= g.until.Next[0] {
			s.held, s.stood = t, s.mark(pglogrepl.LSN(g.until.Next[0]))
			break
		}
		changes, err := s.changes(ctx, t)
		if err != nil {
			if s.held = t; len(all) > 0 {
				break // what came before it comes first
			}
			return nil, err
		}
		if len(all) == 0 && len(changes) > 0 {
			began, b.oldest = time.Now(), t.at
		}
		s.stood, s.seen = s.mark(max(t.end, pglogrepl.LSN(s.stood.Next[0]))), max(s.seen, t.end)
		all, bytes = append(all, changes...), bytes+t.bytes
	}
	b.changes = len(all)
	if b.changes == 0 && s.held == nil && int64(s.seen)-int64(s.flushed) > mostQuiet && time.Since(s.noted) > quietEvery &&
		g.until == nil {
		s.stood, b.due, s.noted = s.mark(s.seen), true, time.Now()
	}
	b.to = s.stood.clone()
	b.each = func(do func(change) error) error {
		for _, c := range all {
			if err := do(c); err != nil {
				return err
			}
		}
		return nil
	}
	return b, nil
}

// following is the next transaction; nil: none came for so long.
func (s *postgresStream) following(ctx context.Context, wait time.Duration) (*transaction, error) {
	if t := s.held; t != nil {
		s.held = nil
		return t, nil
	}
	timer := time.NewTimer(max(0, wait))
	defer timer.Stop()
	select {
	case t, is := <-s.reader.out:
		if !is {
			return nil, s.refused("following", s.reader.err)
		}
		s.reader.queued.Add(-int64(t.bytes))
		return t, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// quiet notes that there is nothing more up to a place.
func (s *postgresStream) quiet(at pglogrepl.LSN, until *marks) {
	s.seen = max(s.seen, at)
	if until != nil && int64(s.seen) >= until.Next[0] && s.stood.Next[0] < until.Next[0] {
		s.stood = s.mark(pglogrepl.LSN(until.Next[0]))
	}
}

func (s *postgresStream) came(all marks) {
	s.flushed = pglogrepl.LSN(all.Next[0])
	s.reader.flushed.Store(uint64(s.flushed))
}

// changes are those of a transaction, in its order.
func (s *postgresStream) changes(ctx context.Context, t *transaction) (all []change, err error) {
	if t.err != nil {
		return nil, t.err
	}
	for _, i := range t.items {
		if i.of == nil {
			if !s.empties {
				return nil, dataError{fmt.Errorf("table %s was emptied by TRUNCATE, in the transaction that was committed at %s, "+
					`which takes all rows from what is merged: let it, by "truncate": "apply" in the source`, s.table, t.commit)}
			}
			all = append(all, s.change(t, len(all), opEmpty, operationTruncate, nulls(len(s.at.cols)), nil))
			continue
		}
		of, is := s.shapes[i.of]
		if !is {
			if of, err = s.shape(ctx, i.of, t); err != nil {
				return nil, err
			}
			s.shapes[i.of] = of
		}
		all = append(all, s.rows(t, of, i, len(all))...)
	}
	return all, nil
}

func (s *postgresStream) change(t *transaction, n int, o op, operation string, r row, err error) change {
	c := change{place: fmt.Sprintf("%s/%d", t.end, n+1), op: o, err: err}
	if err == nil {
		c.row = s.meta.of(r, operation, sortable(t.end), int64(n+1), t.at)
	}
	return c
}

// rows are the changes that one of the log is: of an update that changes the key, a
// delete and an insert.
func (s *postgresStream) rows(t *transaction, of shape, i item, n int) (all []change) {
	var old row
	if i.old != nil {
		var err error
		if old, err = s.row(of, i.old, nil); err != nil {
			return []change{s.change(t, n, opPut, "", nil, err)}
		}
	}
	if i.new == nil {
		return []change{s.change(t, n, opGone, operationDelete, old, nil)}
	}
	operation := operationInsert
	var carried *pglogrepl.TupleData
	if i.whole {
		carried = i.old
	}
	next, err := s.row(of, i.new, carried)
	switch {
	case err != nil:
		return []change{s.change(t, n, opPut, "", nil, err)}
	case old != nil && s.moved(old, next, i.whole):
		all = append(all, s.change(t, n, opGone, operationDelete, old, nil))
		n++
	case old != nil:
		operation = operationUpdate
		all = append(all, s.change(t, n, opUnseen, operationDelete, old, nil))
	case i.updates:
		operation = operationUpdate
	}
	return append(all, s.change(t, n, opPut, operation, next, nil))
}

// moved tells whether a row has another key than before.
func (s *postgresStream) moved(old, next row, whole bool) bool {
	if !whole {
		return true // else the log would not have it
	}
	for i, c := range s.at.cols {
		if slices.Contains(s.at.primary, c.name) && old[i] != next[i] {
			return true
		}
	}
	return false
}

// row is what a tuple has. What it leaves out, as it was not changed, is that of
// the row before.
func (s *postgresStream) row(of shape, tuple, before *pglogrepl.TupleData) (row, error) {
	out, raw := make(row, len(s.at.cols)), make([][]byte, len(s.at.cols))
	var wrong error
	for i, c := range s.at.cols {
		at := of.at[i]
		if at < 0 || at >= len(tuple.Columns) {
			out[i].null = true
			continue
		}
		v := tuple.Columns[at]
		if v.DataType == pglogrepl.TupleDataTypeToast && before != nil && at < len(before.Columns) {
			v = before.Columns[at]
		}
		switch v.DataType {
		case pglogrepl.TupleDataTypeText:
			raw[i] = v.Data
			if raw[i] == nil {
				raw[i] = []byte{}
			}
		case pglogrepl.TupleDataTypeToast:
			if wrong == nil {
				wrong = fmt.Errorf("column %q: an update has left it as it was, and the log does not have it: %s", c.name,
					s.at.mend())
			}
			continue
		}
		var err error
		if out[i], err = c.of.fromPostgres(raw[i]); err != nil && wrong == nil {
			wrong = fmt.Errorf("column %q: %w", c.name, err)
		}
	}
	if wrong != nil {
		return nil, &rowError{wrong.Error(), rawRow(s.at.cols, raw)}
	}
	return out, nil
}

// shape finds the columns of the table in what the log says of it. The log may be from
// before a change that the table has had meanwhile, or have one that came since the
// stream began: that is told from the table as it is now.
func (s *postgresStream) shape(ctx context.Context, rel *pglogrepl.RelationMessage, t *transaction) (of shape,
	err error) {
	var then []Column
	for _, c := range rel.Columns {
		is, err := s.asks.typeOf(ctx, fieldOf(c))
		told := is.String()
		if err != nil {
			told = "of a type that has no exact one here"
		}
		then = append(then, Column{c.Name, told})
	}
	for _, c := range s.at.cols {
		of.at = append(of.at, slices.IndexFunc(rel.Columns, func(r *pglogrepl.RelationMessageColumn) bool {
			return r.Name == c.name
		}))
	}
	added, other := changes(then, told(s.at.cols))
	if len(added)+len(other) == 0 {
		return of, nil
	}
	now, err := s.postgresChanges.look(ctx, s.asks)
	if err != nil {
		return of, fmt.Errorf("table %s was changed before %s: %w", s.table, t.commit, err)
	}
	if slices.Equal(now.cols, s.at.cols) { // the log is from before
		if s.earlier || s.additions && len(other) == 0 {
			return of, nil
		}
		return of, s.otherwise(append(other, added...), t)
	}
	added, other = changes(told(s.at.cols), told(now.cols))
	if s.additions && len(other) == 0 {
		return of, errColumns
	}
	return of, s.otherwise(append(other, added...), t)
}

func fieldOf(c *pglogrepl.RelationMessageColumn) pgconn.FieldDescription {
	return pgconn.FieldDescription{Name: c.Name, DataTypeOID: c.DataType, TypeModifier: c.TypeModifier}
}

func (s *postgresStream) otherwise(what []string, t *transaction) error {
	return dataError{fmt.Errorf("table %s is not as it was, in the transaction that was committed at %s: %s; take it "+
		"as it "+
		"is with --accept-columns", s.table, t.commit, strings.Join(what, "; "))}
}
