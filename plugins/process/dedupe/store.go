package dedupe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/calls"
	"weir/internal/platform/flow"
	"weir/internal/platform/redisconn"
	"weir/internal/platform/storeurl"
)

// store holds claims for a bounded time.
type store interface {
	// open gets the store ready, which may take long after a crash. It costs
	// nothing once it is.
	open(ctx context.Context) error
	// claim asks for every identity, in order: of two that are equal the first
	// wins. A claim that says old replaces that one, in one step, and no other. When it returns nil, each claim's held is
	// set and what it says is as
	// durable as the store is. When it fails, any of the claims may have been
	// made all the same; the claims must then not be read or used again.
	claim(ctx context.Context, claims []claim) error
	// close waits for nothing but the store's own files; claims that are under
	// way fail.
	close() error
}

// newStore makes the store of a URL without touching it yet: it is connected
// to, or opened, by the first claim.
func newStore(rawURL string, ttl, timeout time.Duration, log logger) (store, error) {
	scheme, _, ok := strings.Cut(rawURL, "://")
	if !ok {
		return nil, errors.New("reading the claims URL: expected redis://, rediss://, pebble:///PATH or memory://")
	}
	switch scheme {
	case "redis", "rediss":
		return newRedis(rawURL, ttl, timeout)
	case "pebble":
		path, err := storeurl.Path(rawURL)
		if err != nil {
			return nil, fmt.Errorf("reading the claims URL: %w; pebble:// needs a folder, such as pebble:///var/lib/weir/claims",
				err)
		}
		return newPebble(vfs.Default, path, ttl, log), nil
	case "memory":
		return newPebble(vfs.NewMem(), "claims", ttl, log), nil
	}
	return nil, fmt.Errorf("reading the claims URL: scheme %q is unknown; expected redis, rediss, pebble or memory",
		scheme)
}

// logger is what the stores report through; *service.Logger is one.
type logger interface {
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
	Errorf(format string, args ...any)
}

// handle is one open store with its circuit, shared by all streams of a
// process: they see the same outage, and Pebble locks its folder.
type handle struct {
	store   store
	circuit flow.Circuit
	ttl     time.Duration
	refs    int
}

// pool holds the open stores of a process by URL.
type pool struct {
	mu   sync.Mutex
	open map[string]*handle
}

// share returns the process's handle for the URL. The last release closes it.
func (p *pool) share(res *service.Resources, rawURL string, ttl, timeout time.Duration) (h *handle,
	release func() error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h = p.open[rawURL]
	switch {
	case h == nil:
		s, err := newStore(rawURL, ttl, timeout, res.Logger())
		if err != nil {
			return nil, nil, err
		}
		switch own := s.(type) {
		case *redisStore:
			own.conns.Kind = callClaim
			own.conns.Meter = calls.Of(res, "redis", redisconn.CallConnect, callClaim)
		case *pebbleStore:
			own.meter = calls.Of(res, "pebble", callClaim)
		}
		h = &handle{store: s, ttl: ttl}
		p.open[rawURL] = h
	case h.ttl != ttl:
		return nil, nil, fmt.Errorf("sharing the claims store: one stream keeps claims for %s, another for %s; all groups "+
			"must agree", h.ttl, ttl)
	}
	h.refs++
	var once sync.Once
	return h, func() (err error) {
		once.Do(func() { err = p.release(rawURL, h) })
		return err
	}, nil
}

func (p *pool) release(rawURL string, h *handle) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.refs--; h.refs > 0 {
		return nil
	}
	delete(p.open, rawURL)
	return h.store.close()
}
