package apikey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// CacheOptions bounds how stale a cache may be.
type CacheOptions struct {
	Refresh time.Duration    // revocations take effect within this while the store answers; 0: 30 s
	Reload  time.Duration    // all keys are read again after this; 0: 5 min
	OnError func(err error)  // called when background work fails; may be nil
	Now     func() time.Time // nil: time.Now
}

// Bounds on lookups of keys that are not in the cache, so that a flood of invalid keys does not load the store.
const (
	missesPerSecond = 20
	missesBurst     = 50
	missTimeout     = 3 * time.Second
	unknownFor      = 10 * time.Second
	unknownMax      = 10_000
	earlyPause      = time.Second // between refreshes that come early because of such a flood
)

// Cache answers from memory. It has every key of the store, so checks need no query, known keys work while the store
// is down, and unknown keys are refused without a query. A key made since the last refresh is found by a query, at a
// limited rate and once for all concurrent requests with that key. Above the rate, keys that are not in memory are
// refused, and a refresh is made early.
type Cache struct {
	store *Store
	opts  CacheOptions

	refreshing sync.Mutex    // one at a time, so that what is put last was read last
	early      chan struct{} // asks for a refresh

	mu      sync.RWMutex
	keys    map[string]*entry    // by id
	asked   map[string]*question // ids that the store is being asked about
	unknown map[string]time.Time // ids that the store did not know, until when to believe it
	version int64
	loaded  time.Time // when all keys were last read
	fresh   time.Time // when the cache was last known to be current
	tokens  float64   // lookups that the rate limit still allows
	refill  time.Time

	stop chan struct{}
	done sync.WaitGroup
}

// question is what the store is asked about an id, for all who want to know.
type question struct {
	done  chan struct{} // closed when what follows is set
	entry *entry
	err   error
}

type entry struct {
	key   Key
	found time.Time    // by asking for it alone; zero: by a refresh
	used  atomic.Int64 // Unix microseconds of the last use
	noted atomic.Int64 // the last use that was written to the store
}

// NewCache reads all keys and keeps them current until Close.
func NewCache(ctx context.Context, store *Store, opts CacheOptions) (*Cache, error) {
	if opts.Refresh <= 0 {
		opts.Refresh = 30 * time.Second
	}
	if opts.Reload <= 0 {
		opts.Reload = 5 * time.Minute
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OnError == nil {
		opts.OnError = func(error) {}
	}
	c := &Cache{store: store, opts: opts, early: make(chan struct{}, 1), keys: map[string]*entry{},
		asked: map[string]*question{}, unknown: map[string]time.Time{},
		tokens: missesBurst, refill: opts.Now(), version: -1, stop: make(chan struct{})}
	if err := c.Refresh(ctx); err != nil {
		return nil, err
	}
	c.done.Add(1)
	go c.run()
	return c, nil
}

// Close writes the outstanding times of last use and stops the background work.
func (c *Cache) Close() {
	close(c.stop)
	c.done.Wait()
}

func (c *Cache) run() {
	defer c.done.Done()
	refresh, note := time.NewTicker(c.opts.Refresh), time.NewTicker(time.Minute)
	defer refresh.Stop()
	defer note.Stop()
	early, pause := c.early, (<-chan time.Time)(nil)
	for {
		var err error
		select {
		case <-refresh.C:
			err = bounded(c.Refresh)
		case <-early:
			err = bounded(c.Refresh)
			early, pause = nil, time.After(earlyPause)
		case <-pause:
			early, pause = c.early, nil
		case <-note.C:
			err = bounded(c.noteUses)
		case <-c.stop:
			if err := bounded(c.noteUses); err != nil {
				c.opts.OnError(err)
			}
			return
		}
		if err != nil {
			c.opts.OnError(err)
		}
	}
}

// bounded runs work with a timeout of ten seconds.
func bounded(work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return work(ctx)
}

// Refresh makes the cache current: changes committed before the call are visible after it returns nil.
func (c *Cache) Refresh(ctx context.Context) error {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	now := c.opts.Now()
	n, err := c.store.changes(ctx)
	if err != nil {
		return err
	}
	c.mu.RLock()
	same := n == c.version && now.Sub(c.loaded) < c.opts.Reload
	c.mu.RUnlock()
	var all []Key
	if !same {
		if all, err = c.store.List(ctx, ""); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh = now
	if !same {
		c.swap(all, n, now)
	}
	return nil
}

// swap puts the keys that were read, as of a version, in the place of those before.
// The lock is held.
func (c *Cache) swap(all []Key, version int64, now time.Time) {
	old := c.keys
	c.keys = make(map[string]*entry, len(all))
	for _, k := range all {
		c.put(k, old[k.ID])
	}
	for id, e := range old { // made behind what was read
		if c.keys[id] == nil && !e.found.Before(now) {
			c.keys[id] = e
		}
	}
	clear(c.unknown)
	c.version, c.loaded = version, now
}

func (c *Cache) put(k Key, old *entry) *entry {
	e := &entry{key: k}
	if old != nil {
		e.used.Store(old.used.Load())
		e.noted.Store(old.noted.Load())
	}
	c.keys[k.ID] = e
	return e
}

// Check returns the active key with this text. The error is ErrUnknown, or wraps errUnavailable when the key is not
// cached and the store cannot be asked. The key is shared: callers must not modify it.
func (c *Cache) Check(ctx context.Context, text string) (*Key, error) {
	id, ok := idOf(text)
	if !ok {
		return nil, ErrUnknown
	}
	c.mu.RLock()
	e := c.keys[id]
	c.mu.RUnlock()
	now := c.opts.Now()
	if e == nil {
		var err error
		if e, err = c.miss(ctx, id, now); err != nil {
			return nil, err
		}
	}
	if err := e.key.accepts(text, now); err != nil {
		return nil, err
	}
	if at := now.UnixMicro(); at-e.used.Load() > int64(time.Second/time.Microsecond) {
		e.used.Store(at)
	}
	return &e.key, nil
}

// miss asks the store about an id, unless it did lately or asks too often. Who comes
// with the same id meanwhile waits for the same answer.
func (c *Cache) miss(ctx context.Context, id string, now time.Time) (*entry, error) {
	c.mu.Lock()
	if e := c.keys[id]; e != nil { // since it was looked for
		c.mu.Unlock()
		return e, nil
	}
	if until, ok := c.unknown[id]; ok && now.Before(until) {
		c.mu.Unlock()
		return nil, ErrUnknown
	}
	if q := c.asked[id]; q != nil {
		c.mu.Unlock()
		select {
		case <-q.done:
			return q.entry, q.err
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errUnavailable, ctx.Err())
		}
	}
	c.tokens = min(missesBurst, c.tokens+now.Sub(c.refill).Seconds()*missesPerSecond)
	c.refill = now
	if c.tokens < 1 {
		current := now.Sub(c.fresh) <= 2*c.opts.Refresh
		c.mu.Unlock()
		select {
		case c.early <- struct{}{}:
		default: // one is asked for
		}
		if current { // it was not there at the last refresh, and most such keys are made up
			return nil, ErrUnknown
		}
		return nil, errUnavailable
	}
	c.tokens--
	q := &question{done: make(chan struct{})}
	c.asked[id] = q
	c.mu.Unlock()

	// Others wait for the answer, so it is not given up when this request is.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), missTimeout)
	defer cancel()
	k, err := c.store.get(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learn(q, id, k, err)
	return q.entry, q.err
}

// learn takes what the store has answered. The lock is held.
func (c *Cache) learn(q *question, id string, k Key, err error) {
	switch e := c.keys[id]; {
	case errors.Is(err, errNotFound):
		if len(c.unknown) >= unknownMax {
			clear(c.unknown)
		}
		c.unknown[id] = c.opts.Now().Add(unknownFor)
		q.err = ErrUnknown
	case err != nil:
		q.err = fmt.Errorf("%w: %w", errUnavailable, err)
	case e != nil: // a refresh has brought it meanwhile: k may have been read before a revocation
		q.entry = e
	default:
		q.entry = c.put(k, nil)
		q.entry.found = c.opts.Now()
	}
	delete(c.asked, id)
	close(q.done)
}

// noteUses writes the times of last use that have changed, so that requests need not.
func (c *Cache) noteUses(ctx context.Context) error {
	used, entries := map[string]int64{}, []*entry{}
	c.mu.RLock()
	for id, e := range c.keys {
		if at := e.used.Load(); at > e.noted.Load() {
			used[id] = at
			entries = append(entries, e)
		}
	}
	c.mu.RUnlock()
	if len(used) == 0 {
		return nil
	}
	if err := c.store.touch(ctx, used); err != nil {
		return err
	}
	for _, e := range entries {
		e.noted.Store(used[e.key.ID])
	}
	return nil
}
