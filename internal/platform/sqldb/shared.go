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
	refs int // guarded by pool.mu

	opening sync.Mutex // held while one caller opens the store for all
	db      *DB
}

// Shared opens the store, or returns the handle that another component of
// this process already holds. Call release when done; the last one closes it.
// A server that does not answer holds up those who wait for it, nobody else.
func Shared(ctx context.Context, res *service.Resources, rawURL string) (db *DB, release func(), err error) {
	v, _ := res.GetOrSetGeneric(poolKey{}, &pool{open: map[string]*sharedDB{}})
	p := v.(*pool)
	s := p.acquire(rawURL)
	var once sync.Once
	release = func() { once.Do(func() { p.release(rawURL, s) }) }
	if db, err = s.get(ctx, rawURL); err != nil {
		release()
		return nil, nil, err
	}
	return db, release, nil
}

func (p *pool) acquire(rawURL string) *sharedDB {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.open[rawURL]
	if s == nil {
		s = &sharedDB{}
		p.open[rawURL] = s
	}
	s.refs++
	return s
}

func (s *sharedDB) get(ctx context.Context, rawURL string) (*DB, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.db != nil {
		return s.db, nil
	}
	db, err := Open(ctx, rawURL)
	s.db = db
	return db, err
}

func (p *pool) release(rawURL string, s *sharedDB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.refs--; s.refs > 0 {
		return
	}
	delete(p.open, rawURL)
	if s.db != nil {
		_ = s.db.Close() // what was committed is safe without it
	}
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
