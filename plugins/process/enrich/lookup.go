package enrich

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"weir/internal/platform/flow"
)

// answer is what a source says of a key. It is not changed afterwards.
type answer struct {
	raw    []byte // JSON
	absent bool   // the source answered that it has nothing
	built  string // of which build the source is that said so, where it has such
}

// source is asked for a key. An error is of the asking - the source is away, slow,
// or says what is of no use - and tells nothing of the key.
type source func(ctx context.Context, key string) (answer, error)

// limits bound a look-up.
type limits struct {
	timeout     time.Duration // of one question
	inFlight    int           // questions at a time
	entries     int           // answers that are kept
	keep        time.Duration // an answer
	keepAbsent  time.Duration // that there is none
	failures    int           // in a row, until nobody asks for a while
	now         func() time.Time
	failed      func(error)   // is told of every failure
	opened      func(is bool) // is told when nobody asks any more, and when somebody does again
	background  context.Context
	backgrounds *sync.WaitGroup
}

// lookup asks a source, but for what it knows: answers are kept for a while, a key
// is asked for once at a time whoever wants it, and a source that fails is left
// alone. A failure is not kept.
type lookup struct {
	limits
	ask     source
	circuit flow.Circuit
	slots   chan struct{}

	mu      sync.Mutex
	known   map[string]*list.Element // of *entry
	order   *list.List               // the one used last is the first
	flights map[string]*flight
}

type entry struct {
	key   string
	is    answer
	until time.Time
}

// flight is a question that is under way. What came of it is set when done is
// closed.
type flight struct {
	done chan struct{}
	is   answer
	err  error
}

// Why a key has no answer, beside what its source says.
var (
	errLate = errors.New("the deadline came first")
	errOpen = errors.New("the source has failed again and again, and is left alone for a while")
)

func newLookup(ask source, l limits) *lookup {
	return &lookup{limits: l, ask: ask, circuit: flow.Circuit{After: l.failures}, slots: make(chan struct{}, l.inFlight),
		known: map[string]*list.Element{}, order: list.New(), flights: map[string]*flight{}}
}

// cached returns the answer that is known of a key.
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

// start returns the answer of a key where it is known, or else its flight: one
// that is under way, or a new one as soon as one more may be, which it waits for
// no longer than the context allows.
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
	if f = l.flights[key]; f != nil { // somebody else was faster
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

// fly asks the source once. It goes on when who asked has gone: the next one has
// the answer.
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

// note keeps an answer; the caller holds the lock.
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

// wait returns what came of a flight, or errLate when the context ends first.
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
