package sqldb

import (
	"context"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Lazy opens the tables of a room in a store when they are first needed, and tries again until that works: for
// components that start while their store is down.
type Lazy[T any] struct {
	res  *service.Resources
	url  string
	open func(context.Context, *DB) (T, error)

	mu      sync.Mutex
	tables  T
	release func() // nil: not open
}

// NewLazy does not open the store; open makes the tables, as in SharedAs.
func NewLazy[T any](res *service.Resources, url string, open func(context.Context, *DB) (T, error)) *Lazy[T] {
	return &Lazy[T]{res: res, url: url, open: open}
}

// Get opens the store, unless it is open.
func (l *Lazy[T]) Get(ctx context.Context) (tables T, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release == nil {
		if tables, l.release, err = SharedAs(ctx, l.res, l.url, l.open); err != nil {
			l.release = nil
			return tables, err
		}
		l.tables = tables
	}
	return l.tables, nil
}

// Close releases the store. A later Get opens it again.
func (l *Lazy[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release != nil {
		l.release()
	}
	var none T
	l.tables, l.release = none, nil
}
