package sqldb

import (
	"context"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"
)

type poolKey struct{}

// pool holds the open stores of one engine process by URL.
type pool struct {
	mu   sync.Mutex
	open map[string]*sharedDB
}

type sharedDB struct {
	db   *DB
	refs int
}

// Shared opens the store, or returns the handle that another component of
// this process already holds. Call release when done; the last one closes it.
func Shared(ctx context.Context, res *service.Resources, rawURL string) (db *DB, release func(), err error) {
	v, _ := res.GetOrSetGeneric(poolKey{}, &pool{open: map[string]*sharedDB{}})
	p := v.(*pool)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.open[rawURL]
	if s == nil {
		db, err := Open(ctx, rawURL)
		if err != nil {
			return nil, nil, err
		}
		s = &sharedDB{db: db}
		p.open[rawURL] = s
	}
	s.refs++
	var once sync.Once
	return s.db, func() { once.Do(func() { p.release(rawURL, s) }) }, nil
}

func (p *pool) release(rawURL string, s *sharedDB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.refs--; s.refs == 0 {
		delete(p.open, rawURL)
		_ = s.db.Close()
	}
}
