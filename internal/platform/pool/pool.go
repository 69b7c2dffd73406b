// Package pool shares values that are opened by URL among the components of one process: a value is opened for its
// first user and closed when its last user releases it.
package pool

import (
	"context"
	"io"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// key is the resource key of the pool of a type.
type key[T io.Closer] struct{}

// pool holds the open values by URL.
type pool[T io.Closer] struct {
	mu   sync.Mutex
	open map[string]*shared[T]
}

type shared[T io.Closer] struct {
	refs int // guarded by pool.mu

	opening sync.Mutex // held while one caller opens the value for all
	is      bool       // value is open
	value   T
}

// Shared returns the open value of a URL, calling open if no component has it yet. The caller must call release when
// done. A slow open delays only callers with the same URL.
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
		_ = s.value.Close() // committed data does not depend on it
	}
}
