package live

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// Asked is something that is asked for when somebody wants to know. Whoever does,
// it is asked once at a time, and no more often than it may be: all share an
// answer. When it is slow or fails, what it said last stays, and grows old.
type Asked[T any] struct {
	Every time.Duration // between two questions, at least
	Most  time.Duration // for an answer
	Ask   func(context.Context) (T, error)
	// Patience is how many times as long as its last answer took the source is left
	// alone: it works for this no more than so much of its time. 0 is 20.
	Patience int

	mu      sync.Mutex
	value   *T // nil: never known
	at      time.Time
	err     error // of the last question
	asked   time.Time
	cost    time.Duration
	running chan struct{} // closed when the question under way is answered
	stopped bool
}

// patience is the Patience of who names none.
const patience = 20

// Refresh asks, when that is due, and waits for the answer as long as the context
// allows. A question goes on for as long as life when who asked has gone.
func (p *Asked[T]) Refresh(ctx, life context.Context) {
	running := p.Poke(life)
	if running == nil {
		return
	}
	select {
	case <-running:
	case <-ctx.Done():
	}
}

// Poke asks, when that is due, and does not wait. What it returns is closed with
// the answer that is under way, nil when none is.
func (p *Asked[T]) Poke(life context.Context) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := max(p.Every, time.Duration(cmp.Or(p.Patience, patience))*p.cost)
	if p.running == nil && !p.stopped && time.Since(p.asked) >= pause {
		p.running = make(chan struct{})
		p.asked = time.Now()
		go p.run(life, p.running)
	}
	return p.running
}

// Stop lets nobody ask any more, and waits for the question under way.
func (p *Asked[T]) Stop() {
	p.mu.Lock()
	p.stopped = true
	running := p.running
	p.mu.Unlock()
	if running != nil {
		<-running
	}
}

func (p *Asked[T]) run(life context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(life, p.Most)
	defer cancel()
	began := time.Now()
	value, err := p.Ask(ctx)
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

// Last returns what is known, and since when; nil when it never was.
func (p *Asked[T]) Last() (*T, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value, p.at, p.err
}
