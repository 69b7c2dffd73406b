package etl

import (
	"context"
	"fmt"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"slices"
	"strings"
)

// shape has the index of each column of the table in a row of the log; -1: the column did not exist
// then.
type shape struct{ at []int }

// batch returns whole transactions.
func (s *postgresStream) batch(ctx context.Context, g trigger) (*logBatch, error) {
	if s.reader == nil {
		if err := s.start(ctx); err != nil {
			return nil, err
		}
	}
	return s.take(ctx, g, s.changes, func(err error) error { return s.refused("following", err) })
}

func (s *postgresStream) came(all marks) {
	s.flushed = all.Next[0]
	s.reader.flushed.Store(uint64(s.flushed))
}

// changes returns the changes of a transaction, in its order.
func (s *postgresStream) changes(ctx context.Context, t *transaction[item]) (all []change, err error) {
	if t.err != nil {
		return nil, t.err
	}
	c := &changed{facts: s.meta, end: place(t.end), position: sortable(t.end), at: t.at}
	for _, i := range t.items {
		if i.of == nil {
			if !s.empties {
				return nil, dataError{fmt.Errorf("table %s was emptied by TRUNCATE, in the transaction that was committed at %s, "+
					`which takes all rows from what is merged: let it, by "truncate": "apply" in the source`, s.table,
					place(t.begin))}
			}
			c.add(opEmpty, operationTruncate, nulls(len(s.at.cols)), nil)
			continue
		}
		of, is := s.shapes[i.of]
		if !is {
			if of, err = s.shape(ctx, i.of, t); err != nil {
				return nil, err
			}
			s.shapes[i.of] = of
		}
		s.rows(c, of, i)
	}
	return c.all, nil
}

// rows adds the changes that one item of the log makes.
func (s *postgresStream) rows(c *changed, of shape, i item) {
	var old, next row
	var err error
	if i.old != nil {
		if old, err = s.row(of, i.old, nil); err != nil {
			c.add(opPut, "", nil, err)
			return
		}
	}
	moved := true // else the log would not have the old row
	if i.new != nil {
		var carried *pglogrepl.TupleData
		if i.whole {
			carried = i.old
		}
		if next, err = s.row(of, i.new, carried); err != nil {
			c.add(opPut, "", nil, err)
			return
		}
		moved = old != nil && !(i.whole && sameKey(s.at.cols, s.at.primary, old, next))
	}
	c.row(old, next, i.updates, moved)
}

// row converts a tuple to a row of the table. A value that the log leaves out because an update did
// not change it is taken from before, if that is given; else it is an error of the row.
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
		if out[i], err = c.of.fromPostgres(raw[i], &s.slab); err != nil && wrong == nil {
			wrong = fmt.Errorf("column %q: %w", c.name, err)
		}
	}
	if wrong != nil {
		return nil, &rowError{wrong.Error(), rawRow(s.at.cols, raw)}
	}
	return out, nil
}

// shape finds the columns of the table in the log. If they differ from the table's, it reads the
// table's description again: either the row is from before a change of the columns, or they were
// changed after the stream began.
func (s *postgresStream) shape(ctx context.Context, rel *pglogrepl.RelationMessage, t *transaction[item]) (of shape,
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
		return of, fmt.Errorf("table %s was changed before %s: %w", s.table, place(t.begin), err)
	}
	if slices.Equal(now.cols, s.at.cols) { // the row is from before the change
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

func (s *postgresStream) otherwise(what []string, t *transaction[item]) error {
	return dataError{fmt.Errorf("table %s is not as it was, in the transaction that was committed at %s: %s; take it "+
		"as it "+
		"is with --accept-columns", s.table, place(t.begin), strings.Join(what, "; "))}
}
