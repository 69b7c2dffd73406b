package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"weir/internal/platform/live"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Following configures Follow.
type Following struct {
	URL, APIKey string // as in Place
	Subject     string
	Every       time.Duration // how often the source is asked
	CacheDir    string        // keeps the last known schemas for a restart; "": nothing is kept
	Changed     func(*Set)    // is called with each set that comes into force
}

// Live keeps a subject's set up to date with its source. While the source does not answer, or has
// nothing that compiles, the last good set stays in force.
type Live struct {
	source  source
	cache   cache
	subject string
	log     *service.Logger
	changed func(*Set)

	set  *live.Value[[]document, Set]
	stop context.CancelFunc
	done chan struct{}
}

// Follow loads the set and keeps it up to date until Close. It fails only if a retry cannot help:
// for a store that is down, Current waits.
func Follow(f Following, res *service.Resources) (*Live, error) {
	from, err := openSource(res, f.URL, f.APIKey)
	if err != nil {
		return nil, err
	}
	l := &Live{source: from, cache: cache(f.CacheDir), subject: f.Subject, log: res.Logger(), changed: f.Changed,
		done: make(chan struct{})}
	l.set = live.New(live.Source[[]document, Set]{
		Load:  func(ctx context.Context) ([]document, error) { return l.source.load(ctx, l.subject) },
		Same:  slices.Equal[[]document],
		Build: l.build,
	})
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	first, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	failing := false
	if err := l.refresh(first); err != nil {
		if _, local := l.source.(fileSource); local {
			stop()
			return nil, err
		}
		l.fromCache(err)
		failing = true
	}
	go func() {
		defer close(l.done)
		live.Follow(ctx, f.Every, max(5*time.Second, f.Every), failing, l.refresh, l.tell)
	}()
	return l, nil
}

// Current returns the set. It waits for the first one, because without any schema nothing can be
// said about an event.
func (l *Live) Current(ctx context.Context) (*Set, error) {
	select {
	case <-l.set.Ready():
		return l.set.Get(), nil
	default:
	}
	select {
	case <-l.set.Ready():
		return l.set.Get(), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for schemas of %s: %w", l.subject, ctx.Err())
	}
}

func (l *Live) tell(err error) {
	if err == nil {
		l.log.Infof("schemas of %s are fresh again", l.subject)
		return
	}
	l.log.Warnf("schemas of %s cannot be refreshed, the last known stay in force: %v", l.subject, err)
}

func (l *Live) refresh(ctx context.Context) error {
	changed, err := l.set.Refresh(ctx)
	if err != nil || !changed {
		return err
	}
	l.inForce()
	if err := l.cache.save(l.subject, l.set.From()); err != nil {
		l.log.Warnf("schemas of %s are in force, but a restart without their store would not know them: %v", l.subject, err)
	}
	return nil
}

func (l *Live) inForce() {
	set := l.set.Get()
	if l.changed != nil {
		l.changed(set)
	}
	l.log.Infof("schemas of %s in force: %s", l.subject, set.Ranges())
}

// build compiles a set of documents. A version that does not compile is logged and left out; its
// firmware stays with the version that it had.
func (l *Live) build(docs []document) (*Set, error) {
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
		return nil, fmt.Errorf("compiling the schemas of %s: %w", l.subject, errors.Join(append(bad, errNoSchemas)...))
	}
	for _, err := range bad {
		l.log.Errorf("leaving out a schema: %v", err)
	}
	return NewSet(l.subject, schemas), nil
}

// fromCache loads the last known schemas, because the store failed.
func (l *Live) fromCache(cause error) {
	docs, err := l.cache.read(l.subject)
	if err == nil {
		err = l.set.Use(docs)
	}
	if err != nil {
		l.log.Errorf("events wait: the schemas of %s cannot be loaded (%v), and there are none from before (%v)", l.subject,
			cause, err)
		return
	}
	l.inForce()
	l.log.Warnf("beginning with the last known schemas of %s: %v", l.subject, cause)
}

// Close stops following, and closes the source.
func (l *Live) Close() {
	l.stop()
	<-l.done
	l.source.close()
}
