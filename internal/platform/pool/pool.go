// Package pool shares what is opened by URL among the components of one engine
// process: it is opened when the first one asks, and closed when the last one has
// released it.
package pool

import (
	"context"
	"io"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// key finds the pool of a type.
type key[T io.Closer] struct{}

// pool holds what is open, by URL.
type pool[T io.Closer] struct {
	mu   sync.Mutex
	open map[string]*shared[T]
}

type shared[T io.Closer] struct {
	refs int // guarded by pool.mu

	opening sync.Mutex // held while one caller opens it for all
	is      bool       // open
	value   T
}

// Shared returns what open makes of a URL, or what another component of the process
// holds already. Call release when done. Who waits for a server that does not
// answer holds up those who want the same, nobody else.
func Shared[T io.Closer](ctx context.Context, res *service.Resources, rawURL string,
	open func(context.Context, string) (T, error)) (value T, release func(), err error) {
	v, _ := res.GetOrSetGeneric(key[T]{}, &pool[T]{open: map[string]*shared[T]{}})
	p := v.(*pool[T])
	s := p.acquire(rawURL)
	release = sync.OnceFunc(func() { p.release(rawURL, s) })
	if value, err = s.get(ctx, rawURL, open); err != nil {
		release()
		return value, nil, err
	}
	return value, release, nil
}

func (p *pool[T]) acquire(rawURL string) *shared[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.open[rawURL]
	if s == nil {
		s = &shared[T]{}
		p.open[rawURL] = s
	}
	s.refs++
	return s
}

func (s *shared[T]) get(ctx context.Context, rawURL string, open func(context.Context, string) (T, error)) (T, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.is {
		return s.value, nil
	}
	value, err := open(ctx, rawURL)
	if err == nil {
		s.value, s.is = value, true
	}
	return value, err
}

func (p *pool[T]) release(rawURL string, s *shared[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.refs--; s.refs > 0 {
		return
	}
	delete(p.open, rawURL)
	if s.is {
		_ = s.value.Close() // what was committed is safe without it
	}
}
