package sqldb

import (
	"context"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/calls"
	"weir/internal/platform/pool"
)

// Shared opens the store, or returns the handle that another component of
// this process already holds. Call release when done; the last one closes it.
// A server that does not answer holds up those who wait for it, nobody else.
func Shared(ctx context.Context, res *service.Resources, rawURL string) (db *DB, release func(), err error) {
	return pool.Shared(ctx, res, rawURL, func(ctx context.Context, rawURL string) (*DB, error) {
		return open(ctx, rawURL, func(dialect Dialect) *calls.Meter { return newMeter(res, dialect) })
	})
}

// SharedAs is Shared for the tables of a room: open makes them of the store, which
// is released again when that fails.
func SharedAs[T any](ctx context.Context, res *service.Resources, rawURL string,
	open func(context.Context, *DB) (T, error)) (tables T, release func(), err error) {
	db, release, err := Shared(ctx, res, rawURL)
	if err != nil {
		return tables, nil, err
	}
	if tables, err = open(ctx, db); err != nil {
		release()
		return tables, nil, err
	}
	return tables, release, nil
}
