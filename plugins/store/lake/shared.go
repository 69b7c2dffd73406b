package lake

import (
	"context"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"
)

type poolKey struct{}

type pool struct {
	mu   sync.Mutex
	open map[string]*sharedStore
}

type sharedStore struct {
	store *Store
	refs  int
}

// Shared opens a store, or returns the one that another component of this
// process holds for the same URL. Call release when done.
func Shared(ctx context.Context, res *service.Resources, rawURL string) (s *Store, release func(), err error) {
	v, _ := res.GetOrSetGeneric(poolKey{}, &pool{open: map[string]*sharedStore{}})
	p := v.(*pool)
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.open[rawURL]
	if e == nil {
		store, err := Open(ctx, rawURL)
		if err != nil {
			return nil, nil, err
		}
		e = &sharedStore{store: store}
		p.open[rawURL] = e
	}
	e.refs++
	var once sync.Once
	return e.store, func() { once.Do(func() { p.release(rawURL, e) }) }, nil
}

func (p *pool) release(rawURL string, e *sharedStore) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.refs--; e.refs == 0 {
		delete(p.open, rawURL)
		_ = e.store.Close()
	}
}
