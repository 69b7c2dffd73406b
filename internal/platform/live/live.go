// Package live follows a source that may change while weir runs: a file, a
// registry. It is asked again and again, and the last good value stays in force
// while the source does not answer, or answers with what is of no use.
package live

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Source is where a value comes from: D as it is read, T as it is used.
type Source[D, T any] struct {
	Load  func(context.Context) (D, error)
	Same  func(a, b D) bool
	Build func(D) (*T, error) // an error leaves the value as it is
}

// Value is the last good value of a source. It is safe for concurrent use, as
// long as one at a time calls Refresh or Use.
type Value[D, T any] struct {
	source Source[D, T]
	value  atomic.Pointer[T]
	ready  chan struct{} // closed when there is a value
	once   sync.Once

	have    *D // what the value was built from
	refused *D // the last that could not be built
	why     error
}

// New returns a value that has not been loaded yet.
func New[D, T any](source Source[D, T]) *Value[D, T] {
	return &Value[D, T]{source: source, ready: make(chan struct{})}
}

// Get returns the value, nil before there is one.
func (v *Value[D, T]) Get() *T { return v.value.Load() }

// From is what the value was built from. Call it where Refresh and Use are called.
func (v *Value[D, T]) From() (d D) {
	if v.have != nil {
		d = *v.have
	}
	return d
}

// Ready is closed once there is a value.
func (v *Value[D, T]) Ready() <-chan struct{} { return v.ready }

// Refresh asks the source once. It tells whether the value changed; its error
// says why it could not, and is the same for as long as the source says the same.
func (v *Value[D, T]) Refresh(ctx context.Context) (changed bool, err error) {
	d, err := v.source.Load(ctx)
	if err != nil {
		return false, err
	}
	if v.have != nil && v.source.Same(d, *v.have) {
		v.refused, v.why = nil, nil
		return false, nil
	}
	if v.refused != nil && v.source.Same(d, *v.refused) {
		return false, v.why
	}
	if err := v.Use(d); err != nil {
		return false, err
	}
	return true, nil
}

// Use puts in force what was read elsewhere, such as in a cache.
func (v *Value[D, T]) Use(d D) error {
	built, err := v.source.Build(d)
	if err != nil {
		v.refused, v.why = &d, err
		return err
	}
	v.have, v.refused, v.why = &d, nil, nil
	v.value.Store(built)
	v.once.Do(func() { close(v.ready) })
	return nil
}

// Follow calls refresh every so often until the context ends, each time with a
// timeout. It tells once when it begins to fail, with the error, again when the
// error's text changes, and once with nil when it no longer does. Failing says
// whether it failed before.
func Follow(ctx context.Context, every, timeout time.Duration, failing bool, refresh func(context.Context) error,
	tell func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		one, cancel := context.WithTimeout(ctx, timeout)
		err := refresh(one)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != said:
			tell(err)
			failing, said = true, err.Error()
		case err == nil && failing:
			tell(nil)
			failing, said = false, ""
		}
	}
}
