package sqldb

import (
	"context"
	"database/sql"
	"errors"
)

// Querier is a store, a connection of it or a transaction.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Row is a row of an answer, to be scanned.
type Row interface{ Scan(into ...any) error }

// All returns the rows of a query as scan reads them, an empty list for none. It
// returns all of them or an error.
func All[T any](ctx context.Context, q Querier, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
	all := []T{}
	err := Each(ctx, q, func(row Row) error {
		v, err := scan(row)
		all = append(all, v)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Each calls each with the rows of a query, one after the other, until it returns
// an error. The rows are closed, and their connection is free, when it returns.
func Each(ctx context.Context, q Querier, each func(Row) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	for err == nil && rows.Next() {
		err = each(rows)
	}
	return errors.Join(err, rows.Err(), rows.Close())
}

// Value reads a row of one column.
func Value[T any](row Row) (v T, err error) {
	err = row.Scan(&v)
	return v, err
}
