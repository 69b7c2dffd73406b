// Package live follows a source that may change while weir runs, such as a file or a registry. It is polled, and the
// last good value stays in force while the source fails or returns something invalid.
package live

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Source says where a value comes from: D is the type as read, T as used.
type Source[D, T any] struct {
	Load  func(context.Context) (D, error)
	Same  func(a, b D) bool
	Build func(D) (*T, error) // on an error the value stays
}

// Value is the last good value of a source. It may be used concurrently, except that calls of Refresh, Use and From
// must not overlap.
type Value[D, T any] struct {
	source Source[D, T]
	value  atomic.Pointer[T]
	ready  chan struct{} // closed when there is a value
	once   sync.Once

	have    *D // input of the value in force
	refused *D // the last input that Build rejected
	why     error
}

// New returns a Value that is not loaded yet.
func New[D, T any](source Source[D, T]) *Value[D, T] {
	return &Value[D, T]{source: source, ready: make(chan struct{})}
}

// Get returns the value, or nil before the first one.
func (v *Value[D, T]) Get() *T { return v.value.Load() }

// From returns what the value was built from. It must not overlap with Refresh and Use.
func (v *Value[D, T]) From() (d D) {
	if v.have != nil {
		d = *v.have
	}
	return d
}

// Ready is closed when there is a value.
func (v *Value[D, T]) Ready() <-chan struct{} { return v.ready }

// Refresh reads the source once and tells whether the value changed. The error of an input that was rejected before
// is returned again without building it.
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

// Use builds and sets the value from an input that was read elsewhere, such as from a cache.
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

// Follow calls refresh every interval, each time with a timeout, until ctx ends. It calls tell with the error when
// refresh begins to fail and whenever the error's text changes, and once with nil when it succeeds again. failing
// says that it failed before; its first error is told all the same.
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
