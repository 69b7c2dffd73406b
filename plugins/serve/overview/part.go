package overview

import (
	"context"
	"sync"
	"time"
)

// part is one thing that an overview tells, with where it comes from. Whoever
// looks at it, it is asked once at a time, and no more often than it may be: all
// viewers share an answer. One that is slow or fails keeps nobody from the
// others; what it said last stays, and grows old.
type part[T any] struct {
	every time.Duration // between two questions, at least
	most  time.Duration // for an answer
	ask   func(context.Context) (T, error)

	mu      sync.Mutex
	value   *T // nil: never known
	at      time.Time
	err     error // of the last question
	asked   time.Time
	cost    time.Duration
	running chan struct{} // closed when the question under way is answered
}

// patience is how much longer than its last answer took a part is left alone:
// it takes one core no more than so much of its time.
const patience = 20

// refresh asks, when that is due, and waits for the answer as long as the context
// allows. A question goes on when its viewer has gone.
func (p *part[T]) refresh(ctx, life context.Context) {
	p.mu.Lock()
	if p.running == nil && time.Since(p.asked) >= max(p.every, patience*p.cost) {
		p.running = make(chan struct{})
		p.asked = time.Now()
		go p.run(life, p.running)
	}
	running := p.running
	p.mu.Unlock()
	if running == nil {
		return
	}
	select {
	case <-running:
	case <-ctx.Done():
	}
}

func (p *part[T]) run(life context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(life, p.most)
	defer cancel()
	began := time.Now()
	value, err := p.ask(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.cost = err, time.Since(began)
	p.asked = time.Now()
	if err == nil {
		p.value, p.at = &value, p.asked
	}
	p.running = nil
	close(done)
}

// last returns what is known, and since when; nil when it never was.
func (p *part[T]) last() (*T, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value, p.at, p.err
}
