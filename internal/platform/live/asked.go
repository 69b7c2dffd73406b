package live

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// Asked caches an answer that is expensive to get. However many callers refresh it, one call of Ask runs at a time,
// at a limited rate, and all callers share its result. While Ask is slow or fails, the last value stays and ages. It
// may be used concurrently.
type Asked[T any] struct {
	Every time.Duration // minimum interval between two calls of Ask
	Most  time.Duration // timeout of Ask
	Ask   func(context.Context) (T, error)
	// Patience is the minimum ratio of the pause between calls to the duration of the last one, so that Ask runs for
	// at most 1/Patience of the time. 0 is 20.
	Patience int

	mu      sync.Mutex
	value   *T // nil: never known
	at      time.Time
	err     error // of the last call
	asked   time.Time
	cost    time.Duration
	running chan struct{} // closed when the running call ends
	stopped bool
}

// patience is the default of Patience.
const patience = 20

// Refresh starts Ask if it is due and waits for the running call while ctx allows. The call itself continues until
// life ends, even if its caller is gone.
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

// Poke starts Ask if it is due, without waiting. It returns a channel that is closed when the running call ends, or
// nil when none runs.
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

// Stop prevents further calls and waits for the running one.
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

// Last returns the last value and its time, nil if there never was one, and the error of the last call.
func (p *Asked[T]) Last() (*T, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value, p.at, p.err
}
