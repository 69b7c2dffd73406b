package gate

import (
	"context"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// line is where small requests wait for a batch of the engine that they share. A batch costs about
// as much as twenty events in it. A request that gives up before it is taken leaves the line, and
// none of its events are sent.
type line struct {
	mu     sync.Mutex
	subs   []*submission
	events int
	closed bool
	ready  chan struct{} // signals the first request in the line, and that it has enough events for a batch
}

// Bounds of what small requests share.
const (
	smallEvents  = 50
	sharedEvents = 100 // events that are enough for a batch: gathering ends
	mostEvents   = 500 // events from which on no further request is added to a batch
)

func newLine() *line { return &line{ready: make(chan struct{}, 1)} }

// join adds a request. It returns false if the gate is stopping.
func (l *line) join(sub *submission) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.subs = append(l.subs, sub)
	before := l.events
	if l.events += len(sub.batch); before == 0 || before < sharedEvents && l.events >= sharedEvents {
		l.tell()
	}
	return true
}

// leave removes a request. It returns false if the request was taken before.
func (l *line) leave(sub *submission) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.subs {
		if s == sub {
			l.subs = append(l.subs[:i], l.subs[i+1:]...)
			l.events -= len(sub.batch)
			return true
		}
	}
	return false
}

// take removes and returns the requests of one batch, the oldest first.
func (l *line) take() []*submission {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, events := 0, 0
	for n < len(l.subs) && events < mostEvents {
		events += len(l.subs[n].batch)
		n++
	}
	taken := append([]*submission(nil), l.subs[:n]...)
	rest := copy(l.subs, l.subs[n:])
	clear(l.subs[rest:])
	l.subs, l.events = l.subs[:rest], l.events-events
	if rest > 0 {
		l.tell()
	}
	return taken
}

// close answers all waiting requests with err, and admits no more.
func (l *line) close(err error) {
	l.mu.Lock()
	l.closed = true
	waiting := l.subs
	l.subs, l.events = nil, 0
	l.mu.Unlock()
	for _, sub := range waiting {
		_ = sub.ack(context.Background(), err)
	}
}

func (l *line) full() (n int, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.subs), l.events >= sharedEvents
}

func (l *line) tell() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// gather waits for other requests to join, if others are under way. It stops when the line has enough
// for a batch, or when a request with a batch of its own comes, which it puts into g.next.
func (g *gate) gather(ctx context.Context) {
	n, full := g.line.full()
	if full || g.conf.gather == 0 || !g.admit.More(n) {
		return
	}
	if g.patience == nil {
		g.patience = time.NewTimer(g.conf.gather)
	} else {
		g.patience.Reset(g.conf.gather)
	}
	defer g.patience.Stop()
	select {
	case <-g.patience.C:
	case <-g.line.ready:
	case g.next = <-g.queue:
	case <-ctx.Done():
	}
}

// share makes one batch of the requests in line. They are acknowledged, or fail, together. The
// batch is empty when all of them have left.
func (g *gate) share() (service.MessageBatch, service.AckFunc) {
	all := g.line.take()
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0].batch, all[0].ack
	}
	events := 0
	for _, sub := range all {
		events += len(sub.batch)
	}
	batch := make(service.MessageBatch, 0, events)
	for _, sub := range all {
		batch = append(batch, sub.batch...)
	}
	return batch, func(ctx context.Context, err error) error {
		for _, sub := range all {
			_ = sub.ack(ctx, err) // always nil
		}
		return nil
	}
}
