package gate

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/event"
)

// request is one batch of events on its way in, whatever protocol it came by.
type request struct {
	fleet       string
	traceparent string
	items       []item
	admitted    func() // called when the request has room, or nil
	held        *hold  // what it takes of the bounds; given back when the engine is done with it
}

// submission is a request in the hands of the engine.
type submission struct {
	batch   service.MessageBatch
	held    *hold
	settled atomic.Bool
	done    chan error
}

// ack is the engine's word on the whole batch.
func (s *submission) ack(_ context.Context, err error) error {
	if s.settled.CompareAndSwap(false, true) {
		s.held.release()
		s.done <- err
	}
	return nil
}

// Bounds of what small requests share: a batch of the engine costs about as much
// as twenty events in it.
const (
	smallEvents  = 50
	sharedEvents = 100
)

// small tells whether a request may share a batch of the engine. One with an
// event that the gate found bad may not: such an event can be of any size, and
// if the dead letters did not take it, the others would suffer for it.
func (r *request) small() bool {
	if len(r.items) > smallEvents {
		return false
	}
	for i := range r.items {
		if r.items[i].bad != nil {
			return false
		}
	}
	return true
}

// share adds to a small request what other small ones are waiting, without
// waiting for more. They are acknowledged, or fail, together.
func (g *gate) share(first *submission) (service.MessageBatch, service.AckFunc) {
	batch, all := first.batch, []*submission{first}
	for len(batch) < sharedEvents {
		select {
		case sub := <-g.small:
			batch = append(batch, sub.batch...)
			all = append(all, sub)
			continue
		default:
		}
		break
	}
	if len(all) == 1 {
		return batch, first.ack
	}
	return batch, func(ctx context.Context, err error) error {
		for _, sub := range all {
			_ = sub.ack(ctx, err) // always nil
		}
		return nil
	}
}

// publish hands a request to the stream and waits until it is durable. It
// returns the rejections by index; an event without one was accepted. The
// error is a *refusal, or errClientGone when ctx ended before the stream took
// the batch. The hold is given back with the acknowledgement, or here when the
// stream never had the batch.
func (g *gate) publish(ctx context.Context, r *request) (map[int]*event.Rejection, error) {
	verdicts := &event.Verdicts{}
	sub := &submission{batch: g.messages(r, verdicts), held: r.held, done: make(chan error, 1)}
	timer := time.NewTimer(g.conf.timeouts.ack)
	defer timer.Stop()

	queue := g.queue
	if r.small() {
		queue = g.small
	}
	var late error
	select {
	case queue <- sub:
	case <-timer.C:
		late = logUnavailable() // the stream takes nothing in: it waits for a store
	case <-ctx.Done():
		late = errClientGone
	case <-g.draining:
		late = stopping()
	}
	if late != nil {
		r.held.release()
		return nil, late
	}
	select {
	case err := <-sub.done:
		if err != nil {
			g.logFailure(err)
			return nil, logUnavailable()
		}
	case <-timer.C:
		return nil, notAcknowledged()
	case <-g.closed:
		select {
		case err := <-sub.done: // it came with the close
			if err == nil {
				break
			}
			return nil, logUnavailable()
		default:
			return nil, notAcknowledged()
		}
	}
	rejected := verdicts.Rejected()
	for i := range r.items {
		if bad := r.items[i].bad; bad != nil && rejected[i] == nil {
			if rejected == nil {
				rejected = make(map[int]*event.Rejection)
			}
			rejected[i] = bad
		}
	}
	return rejected, nil
}

// logFailure says why requests fail, once in ten seconds at most: in an outage
// there are thousands.
func (g *gate) logFailure(err error) {
	now := time.Now().UnixNano()
	if last := g.failureLogged.Load(); now-last > int64(10*time.Second) && g.failureLogged.CompareAndSwap(last, now) {
		g.log.Warnf("Requests cannot be made durable, their clients are told to send again: %v", err)
	}
}

// messages makes the batch. All its messages share one context, which outlives
// the request: a batch that is slow must not be cancelled half way.
func (g *gate) messages(r *request, verdicts *event.Verdicts) service.MessageBatch {
	ctx := event.WithVerdicts(context.Background(), verdicts)
	var fleet any = r.fleet // boxed once, not once an event
	var received any = time.Now().UTC().Format(event.TimeFormat)
	var trace any = r.traceparent
	batch := make(service.MessageBatch, len(r.items))
	for i := range r.items {
		msg := service.NewMessageWithContext(ctx, r.items[i].raw)
		msg.MetaSetMut(event.HeaderFleet, fleet)
		msg.MetaSetMut(event.HeaderReceivedAt, received)
		msg.MetaSetMut(event.MetaIndex, i)
		if r.traceparent != "" {
			msg.MetaSetMut(event.HeaderTraceparent, trace)
		}
		if bad := r.items[i].bad; bad != nil {
			event.MarkRejected(msg, bad)
		}
		batch[i] = msg
	}
	return batch
}
