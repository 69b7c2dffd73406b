package sqldb

import (
	"context"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Lazy is the tables of a room in a store that is opened when it is first asked for,
// and again until that works: for components that begin while their store is away.
type Lazy[T any] struct {
	res  *service.Resources
	url  string
	open func(context.Context, *DB) (T, error)

	mu      sync.Mutex
	tables  T
	release func() // nil: not open
}

// NewLazy opens nothing yet; open makes the tables, as SharedAs has it.
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

// Close lets go of the store. Who asks for it later opens it again.
func (l *Lazy[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release != nil {
		l.release()
	}
	var none T
	l.tables, l.release = none, nil
}
