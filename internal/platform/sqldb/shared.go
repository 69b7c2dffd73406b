package sqldb

import (
	"context"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/calls"
	"weir/internal/platform/pool"
)

// Shared opens the store, or returns the handle that another component of this process already has. The caller must
// call release; the last release closes the store. A server that does not answer delays only the callers that wait for
// it.
func Shared(ctx context.Context, res *service.Resources, rawURL string) (db *DB, release func(), err error) {
	return pool.Shared(ctx, res, rawURL, func(ctx context.Context, rawURL string) (*DB, error) {
		return open(ctx, rawURL, func(dialect Dialect) *calls.Meter { return newMeter(res, dialect) })
	})
}

// SharedAs is Shared for the tables of a room, which open makes from the store. If open fails, the store is released
// again.
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
