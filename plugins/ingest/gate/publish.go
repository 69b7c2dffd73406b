package gate

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/requestid"
	"weir/plugins/ingest/gate/admission"
)

// request is one batch of events on its way in, whatever protocol it came by.
type request struct {
	id          string // its id in headers, logs and traces
	fleet       string
	prefix      string // prefix of the devices that the key may send for; "": all
	region      string // region it was sent from; "": not known
	traceparent string
	items       []item
	admitted    func()          // called when the request has room, or nil
	held        *admission.Hold // its share of the bounds; released when the engine is done with it
}

// submission is a request in the hands of the engine.
type submission struct {
	batch   service.MessageBatch
	held    *admission.Hold
	settled atomic.Bool
	done    chan error
}

// ack takes the engine's result for the whole batch. Only the first call counts.
func (s *submission) ack(_ context.Context, err error) error {
	if s.settled.CompareAndSwap(false, true) {
		s.held.Release()
		s.done <- err
	}
	return nil
}

// wait is what a request waits with. It is reused only after its acknowledgement has come: then
// nobody writes to done any more.
type wait struct {
	timer *time.Timer
	done  chan error
}

func (g *gate) newWait() *wait {
	w, _ := g.waits.Get().(*wait)
	if w == nil {
		return &wait{timer: time.NewTimer(g.conf.timeouts.ack), done: make(chan error, 1)}
	}
	w.timer.Reset(g.conf.timeouts.ack)
	return w
}

// small tells whether a request may share a batch of the engine. A request with an event that the
// gate found bad may not: such an event can have any size, and if the dead letters refuse it, the
// others would fail with it.
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

// publish hands a request to the stream and waits until it is durable. It
// returns the rejections by index; an event without one was accepted. The
// error is a *refusal, or errClientGone when ctx ended before the stream took
// the batch. The hold is given back with the acknowledgement, or here when the
// stream never had the batch.
func (g *gate) publish(ctx context.Context, r *request) (map[int]*event.Rejection, error) {
	verdicts := &event.Verdicts{Request: r.id}
	w := g.newWait()
	sub := &submission{batch: g.messages(r, verdicts), held: r.held, done: w.done}
	send := g.alone
	if r.small() {
		send = g.inLine
	}
	err := send(ctx, sub, w)
	w.timer.Stop()
	var ref *refusal
	switch {
	case err == nil:
		g.waits.Put(w)
		return g.rejected(r, verdicts), nil
	case errors.As(err, &ref), errors.Is(err, errClientGone):
		return nil, err
	}
	g.logFailure(r.id, err)
	return nil, logUnavailable()
}

// alone sends a request as a batch of its own.
func (g *gate) alone(ctx context.Context, sub *submission, w *wait) (err error) {
	select {
	case g.queue <- sub:
		return g.acknowledged(w)
	case <-w.timer.C:
		err = logUnavailable() // the stream reads no batch, as it waits for a store
	case <-ctx.Done():
		err = errClientGone
	case <-g.draining:
		err = stopping()
	}
	sub.held.Release()
	return err
}

// inLine sends a request in a batch that others share.
func (g *gate) inLine(ctx context.Context, sub *submission, w *wait) (late error) {
	if !g.line.join(sub) {
		sub.held.Release()
		return stopping()
	}
	inTime := true
	select {
	case err := <-w.done:
		return err
	case <-w.timer.C:
		late, inTime = logUnavailable(), false
	case <-ctx.Done():
		late = errClientGone
	case <-g.closed:
		late = stopping()
	}
	switch {
	case g.line.leave(sub):
		sub.held.Release()
		return late
	case inTime:
		return g.acknowledged(w)
	}
	return notAcknowledged()
}

// acknowledged waits for the acknowledgement of a batch that the stream has taken.
func (g *gate) acknowledged(w *wait) error {
	select {
	case err := <-w.done:
		return err
	case <-w.timer.C:
		return notAcknowledged()
	case <-g.closed:
		select {
		case err := <-w.done: // both came at once
			return err
		default:
			return notAcknowledged()
		}
	}
}

// rejected returns the events of the request that were not accepted, by index.
func (g *gate) rejected(r *request, verdicts *event.Verdicts) map[int]*event.Rejection {
	rejected := verdicts.Rejected()
	reject := func(i int, why *event.Rejection) {
		if rejected[i] != nil {
			return
		}
		if rejected == nil {
			rejected = make(map[int]*event.Rejection)
		}
		rejected[i] = why
	}
	for i := range r.items {
		if bad := r.items[i].bad; bad != nil {
			reject(i, bad)
		}
	}
	if g.conf.unwritten || !g.witness.There() {
		return rejected
	}
	if missing := verdicts.Unwritten(len(r.items)); len(missing) > 0 {
		before := len(rejected)
		for _, i := range missing {
			reject(i, errDropped)
		}
		if dropped := len(rejected) - before; dropped > 0 && seldom(&g.dropLogged) {
			g.log.Warnf("a processor between the gate and the log drops events (%d of the request %s): their devices are told "+
				"that they are not kept", dropped, r.id)
		}
	}
	return rejected
}

// errDropped is the verdict on an event that the stream dropped: the engine acknowledges it, but it
// is stored nowhere.
var errDropped = event.Reject(event.CodeProcessingFailed, "",
	"a processor of the ingest stream dropped the event: it is not kept")

// logFailure logs why requests fail, at most once in ten seconds: in an outage there are thousands.
func (g *gate) logFailure(id string, err error) {
	if seldom(&g.failureLogged) {
		g.log.Warnf("requests cannot be made durable, their clients are told to send again, as of %s: %v", id, err)
	}
}

// seldom returns true at most once in ten seconds. last is when it did, in Unix nanoseconds.
func seldom(last *atomic.Int64) bool {
	now := time.Now().UnixNano()
	before := last.Load()
	return now-before > int64(10*time.Second) && last.CompareAndSwap(before, now)
}

// stamp returns the header for the time of receipt, and whether that also tells the request's id.
// It cannot tell an id that a client chose, nor one of a long connection, which has a number.
func (r *request) stamp(now time.Time) (received string, named bool) {
	if stamp, ok := requestid.Stamp(r.id, now); ok {
		return stamp, true
	}
	return now.UTC().Format(event.TimeFormat), r.id == ""
}

// messages makes the batch. Its messages do not depend on the request's context: a slow batch must
// not be canceled half way.
func (g *gate) messages(r *request, verdicts *event.Verdicts) service.MessageBatch {
	var fleet any = r.fleet // boxed once, not once an event
	stamp, named := r.stamp(time.Now())
	var received, request any = stamp, r.id
	var parent, region any = r.traceparent, r.region
	batch := make(service.MessageBatch, len(r.items))
	for i := range r.items {
		msg := service.NewMessage(r.items[i].raw)
		msg.MetaSetMut(event.HeaderFleet, fleet)
		msg.MetaSetMut(event.HeaderReceivedAt, received)
		if !named {
			msg.MetaSetMut(event.HeaderRequest, request)
		}
		verdicts.Attach(msg, i)
		if r.region != "" {
			msg.MetaSetMut(event.HeaderRegion, region)
		}
		if r.traceparent != "" {
			msg.MetaSetMut(event.HeaderTraceparent, parent)
		}
		if bad := r.items[i].bad; bad != nil {
			event.MarkRejected(msg, bad)
		}
		batch[i] = msg
	}
	return batch
}
