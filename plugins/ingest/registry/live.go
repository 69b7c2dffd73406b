package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Following says what Follow follows.
type Following struct {
	URL, APIKey string // where the schemas are, as Place
	Subject     string
	Every       time.Duration // how often the source is asked
	CacheDir    string        // keeps the last known schemas for a restart; "" keeps none
	Changed     func(*Set)    // called with each set that comes into force
}

// Live keeps a subject's set up to date with its source. While the source does
// not answer, or answers with what does not compile, the last good set stays.
type Live struct {
	source  source
	cache   cache
	subject string
	every   time.Duration
	log     *service.Logger
	changed func(*Set)

	set   atomic.Pointer[Set]
	ready chan struct{} // closed when there is a set
	once  sync.Once
	stop  context.CancelFunc
	done  chan struct{}

	have       []document // what set was compiled from
	refused    []document // the last of which nothing compiled
	refusedFor error
	failing    bool
}

// Follow loads the set and keeps it fresh until Close. It fails only if the
// source is wrong for good: a store that is down is waited for, in Current.
func Follow(f Following, res *service.Resources) (*Live, error) {
	from, err := openSource(res, f.URL, f.APIKey)
	if err != nil {
		return nil, err
	}
	l := &Live{source: from, cache: cache(f.CacheDir), subject: f.Subject, every: f.Every, log: res.Logger(), changed: f.Changed}
	l.ready, l.done = make(chan struct{}), make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	first, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := l.refresh(first); err != nil {
		if _, local := l.source.(fileSource); local {
			stop()
			return nil, err
		}
		l.fromCache(err)
	}
	go l.run(ctx)
	return l, nil
}

// Current returns the set, waiting for the first one: without any schema
// nothing can be said about an event, least of all that it is invalid.
func (l *Live) Current(ctx context.Context) (*Set, error) {
	if set := l.set.Load(); set != nil {
		return set, nil
	}
	select {
	case <-l.ready:
		return l.set.Load(), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for schemas of %s: %w", l.subject, ctx.Err())
	}
}

func (l *Live) run(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		one, cancel := context.WithTimeout(ctx, max(5*time.Second, l.every))
		err := l.refresh(one)
		cancel()
		switch {
		case err != nil && ctx.Err() == nil && !l.failing:
			l.failing = true
			l.log.Warnf("Schemas of %s cannot be refreshed, the last known stay in force: %v", l.subject, err)
		case err == nil && l.failing:
			l.failing = false
			l.log.Infof("Schemas of %s are fresh again", l.subject)
		}
	}
}

func (l *Live) refresh(ctx context.Context) error {
	docs, err := l.source.load(ctx, l.subject)
	if err != nil {
		return err
	}
	if slices.Equal(docs, l.have) {
		return nil
	}
	if l.refusedFor != nil && slices.Equal(docs, l.refused) {
		return l.refusedFor
	}
	if err := l.use(docs); err != nil {
		return err
	}
	if err := l.cache.save(l.subject, docs); err != nil {
		l.log.Warnf("Schemas of %s are in force, but a restart without their store would not know them: %v", l.subject, err)
	}
	return nil
}

// use puts documents in force. One version that does not compile keeps the
// others from nothing: it is left out, and said so, and its firmware stays
// with the version it had.
func (l *Live) use(docs []document) error {
	var schemas []*Schema
	var bad []error
	for _, d := range docs {
		s, err := Compile(l.subject, d.Version, []byte(d.Schema))
		if err != nil {
			bad = append(bad, err)
			continue
		}
		schemas = append(schemas, s)
	}
	if len(schemas) == 0 {
		l.refused = docs
		l.refusedFor = fmt.Errorf("compiling the schemas of %s: %w", l.subject, errors.Join(append(bad, errNoSchemas)...))
		return l.refusedFor
	}
	for _, err := range bad {
		l.log.Errorf("Leaving out a schema: %v", err)
	}
	set := NewSet(l.subject, schemas)
	l.have, l.refused, l.refusedFor = docs, nil, nil
	l.set.Store(set)
	l.once.Do(func() { close(l.ready) })
	if l.changed != nil {
		l.changed(set)
	}
	l.log.Infof("Schemas of %s in force: %s", l.subject, set.Ranges())
	return nil
}

// fromCache begins with what was last known, because the store failed.
func (l *Live) fromCache(cause error) {
	l.failing = true
	docs, err := l.cache.read(l.subject)
	if err == nil {
		err = l.use(docs)
	}
	if err != nil {
		l.log.Errorf("Events wait: the schemas of %s cannot be loaded (%v), and there are none from before (%v)", l.subject, cause, err)
		return
	}
	l.log.Warnf("Beginning with the last known schemas of %s: %v", l.subject, cause)
}

// Close stops following, and lets go of the source.
func (l *Live) Close() {
	l.stop()
	<-l.done
	l.source.close()
}
