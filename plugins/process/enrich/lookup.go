package enrich

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"weir/internal/platform/flow"
)

// answer is the answer of a source for a key. It is immutable.
type answer struct {
	raw    []byte // JSON
	absent bool   // the source answered that it has nothing
	built  string // the build of the source, if it has one
}

// source queries a source for a key. An error means that the query failed - the source is down, slow, or answered
// something invalid - and says nothing about the key.
type source func(ctx context.Context, key string) (answer, error)

// limits bound a look-up.
type limits struct {
	timeout     time.Duration // of one query
	inFlight    int           // concurrent queries
	entries     int           // cached answers
	keep        time.Duration // an answer
	keepAbsent  time.Duration // that there is none
	failures    int           // in a row, after which no queries are sent for a while
	now         func() time.Time
	failed      func(error)   // is called for every failure
	opened      func(is bool) // is called when queries stop, and when they begin again
	background  context.Context
	backgrounds *sync.WaitGroup
}

// lookup queries a source with a cache: answers are kept for a while, a key is queried once at a time however many
// callers want it, and a source that keeps failing gets no queries for a while. Failures are not cached.
type lookup struct {
	limits
	ask     source
	circuit flow.Circuit
	slots   chan struct{}

	mu      sync.Mutex
	known   map[string]*list.Element // values are *entry
	order   *list.List               // the most recently used one is first
	flights map[string]*flight
}

type entry struct {
	key   string
	is    answer
	until time.Time
}

// flight is a query in progress. Its outcome is set before done is closed.
type flight struct {
	done chan struct{}
	is   answer
	err  error
}

// The reasons for which a key has no answer, apart from errors of the source.
var (
	errLate = errors.New("the deadline came first")
	errOpen = errors.New("the source has failed again and again, and is left alone for a while")
)

func newLookup(ask source, l limits) *lookup {
	return &lookup{limits: l, ask: ask, circuit: flow.Circuit{After: l.failures}, slots: make(chan struct{}, l.inFlight),
		known: map[string]*list.Element{}, order: list.New(), flights: map[string]*flight{}}
}

// cached returns the cached answer for a key. The caller holds mu.
func (l *lookup) cached(key string) (answer, bool) {
	e := l.known[key]
	if e == nil {
		return answer{}, false
	}
	if kept := e.Value.(*entry); l.now().Before(kept.until) {
		l.order.MoveToFront(e)
		return kept.is, true
	}
	l.order.Remove(e)
	delete(l.known, key)
	return answer{}, false
}

// start returns the cached answer for a key, or else its flight: the one in progress, or a new one. For a new one it
// waits until the source may have one more query, but no longer than the context.
func (l *lookup) start(ctx context.Context, key string) (is answer, hit bool, f *flight, err error) {
	if is, hit, f = l.join(key); hit || f != nil {
		return is, hit, f, nil
	}
	select {
	case l.slots <- struct{}{}:
	default:
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return is, false, nil, errLate
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f = l.flights[key]; f != nil { // another caller was faster
		<-l.slots
		return is, false, f, nil
	}
	if is, hit = l.cached(key); hit {
		<-l.slots
		return is, true, nil, nil
	}
	if !l.circuit.Enter(l.now()) {
		<-l.slots
		return is, false, nil, errOpen
	}
	f = &flight{done: make(chan struct{})}
	l.flights[key] = f
	l.backgrounds.Go(func() { l.fly(key, f) })
	return is, false, f, nil
}

func (l *lookup) join(key string) (answer, bool, *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.flights[key]; f != nil {
		return answer{}, false, f
	}
	is, hit := l.cached(key)
	return is, hit, nil
}

// fly queries the source once. It does not stop when its callers have gone: its answer is cached for later ones.
func (l *lookup) fly(key string, f *flight) {
	ctx, cancel := context.WithTimeout(l.background, l.timeout)
	f.is, f.err = l.ask(ctx, key)
	cancel()
	switch {
	case l.background.Err() != nil:
		l.circuit.Leave()
	case f.err == nil:
		if l.circuit.Succeed() {
			l.opened(false)
		}
	default:
		l.failed(f.err)
		if l.circuit.Fail(l.now()) {
			l.opened(true)
		}
	}
	l.mu.Lock()
	delete(l.flights, key)
	if f.err == nil {
		l.note(key, f.is)
	}
	l.mu.Unlock()
	<-l.slots
	close(f.done)
}

// note caches an answer. The caller holds mu.
func (l *lookup) note(key string, is answer) {
	keep := l.keep
	if is.absent {
		keep = l.keepAbsent
	}
	if keep <= 0 || l.entries <= 0 {
		return
	}
	for l.order.Len() >= l.entries {
		last := l.order.Back()
		l.order.Remove(last)
		delete(l.known, last.Value.(*entry).key)
	}
	l.known[key] = l.order.PushFront(&entry{key, is, l.now().Add(keep)})
}

// wait returns the outcome of a flight, or errLate when the context ends first.
func (f *flight) wait(ctx context.Context) (answer, error) {
	select {
	case <-f.done:
		return f.is, f.err
	default:
	}
	select {
	case <-f.done:
		return f.is, f.err
	case <-ctx.Done():
		return answer{}, errLate
	}
}
