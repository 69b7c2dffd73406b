package gate

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"weir/plugins/ingest/gate/admission"
)

// This file is what the protocols of long connections share: one request after
// the other, each answered in order, and waiting instead of 429.

// relayWindow is how many requests of one connection may be on their way at
// once. The events of two of them may be stored in any order.
const relayWindow = 8

// relay runs one long connection. read returns the work of the next request, or false at the end.
// The work calls taken when it has room, and only then is the next request read. send sends the
// answers in the order of the requests; when it returns false, it must make read return. relay
// returns after the last send.
func relay[A any](ctx context.Context, read func() (work func(ctx context.Context, taken func()) A, ok bool),
	send func(A) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan chan A, relayWindow)
	var writer sync.WaitGroup
	writer.Go(func() {
		defer cancel()
		for next := range answers {
			if !send(<-next) {
				return
			}
		}
	})
	defer writer.Wait()
	defer close(answers)
	for {
		work, ok := read()
		if !ok {
			return
		}
		answer := make(chan A, 1)
		select {
		case answers <- answer: // waits while the window is full
		case <-ctx.Done():
			return
		}
		taken := make(chan struct{})
		told := sync.OnceFunc(func() { close(taken) })
		go func() {
			defer told()
			answer <- work(ctx, told)
		}()
		select {
		case <-taken:
		case <-ctx.Done():
			return
		}
	}
}

// patiently handles one request, and waits while there is no room for it. It checks the key again
// each time, because it may have been revoked.
func (g *gate) patiently(ctx context.Context, who caller, build func(held *admission.Hold) (*request, error)) (result,
	error) {
	for {
		res, err := g.attempt(ctx, who, build)
		var ref *refusal
		if !errors.As(err, &ref) || ref.status != http.StatusTooManyRequests {
			return res, err
		}
		g.metrics.refusals.Incr(1, "held-back")
		wait := time.NewTimer(max(minHeldBack, min(ref.soon, maxHeldBack)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return result{}, errClientGone
		case <-g.draining:
			wait.Stop()
			return result{}, stopping()
		}
	}
}

// Bounds of the wait between two attempts for a stream that is held back. They are shorter than
// what a device is told, because an attempt costs little here.
const (
	minHeldBack = 20 * time.Millisecond
	maxHeldBack = 2 * time.Second
)

// attempt handles one request, or returns why it is refused.
func (g *gate) attempt(ctx context.Context, who caller, build func(held *admission.Hold) (*request, error)) (result,
	error) {
	if g.isDraining() {
		return result{}, stopping()
	}
	key, err := g.check(ctx, who)
	if err != nil {
		return result{}, err
	}
	region, away := g.place(who)
	if away != nil {
		return result{}, away
	}
	held, ref := g.admit.Enter(key.Fleet)
	if ref != nil {
		return result{}, full(ref)
	}
	r, err := build(held)
	if err != nil {
		held.Release()
		return result{}, err
	}
	r.fleet, r.prefix, r.region, r.held = key.Fleet, key.DevicePrefix, region, held
	return g.settle(ctx, r)
}

// numbered makes the ids of the requests of one long connection: the connection's id and a number.
// It is for one goroutine.
type numbered struct {
	of string
	n  int
}

func (n *numbered) next() string {
	n.n++
	return n.of + "-" + strconv.Itoa(n.n)
}
