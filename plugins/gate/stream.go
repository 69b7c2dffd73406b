package gate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"weir/plugins/apikey"
)

// This file is what the protocols of long connections share: one body after
// the other, each answered in order, and waiting instead of 429.

// patiently takes one body in as ingest does, but waits while there is no room
// for it. Meanwhile its caller reads no further, and so the client is held back.
// The key is asked for again each time: it may have been revoked.
func (g *gate) patiently(ctx context.Context, text string, make func(held *hold) (*request, error)) (result, error) {
	for {
		res, err := g.attempt(ctx, text, make)
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

// How long a stream that is held back waits between tries: unlike a device told
// to come back, it costs little to ask.
const (
	minHeldBack = 20 * time.Millisecond
	maxHeldBack = 2 * time.Second
)

func (g *gate) attempt(ctx context.Context, text string, make func(held *hold) (*request, error)) (result, error) {
	if g.isDraining() {
		return result{}, stopping()
	}
	key, err := g.checker.Check(ctx, text)
	if err != nil {
		return result{}, err
	}
	if !key.Allows(apikey.Ingest) {
		return result{}, forbidden()
	}
	held, ref := g.admit.enter(key.Fleet)
	if ref != nil {
		return result{}, ref
	}
	r, err := make(held)
	if err != nil {
		held.release()
		return result{}, err
	}
	r.fleet, r.held = key.Fleet, held
	return g.settle(ctx, r)
}
