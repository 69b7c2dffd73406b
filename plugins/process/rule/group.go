package rule

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/flow"
)

// Batches of different partitions that wait at the same time become one transaction: while it is written, the next
// batches are prepared and join the next group. So a batch waits only for those before it, never for a period. Of one
// partition, the next batch is prepared while the one before is applied and written; it is applied when that one is
// durable.

// groupMost bounds the messages of a transaction, unless its first batch is larger: the store has one writer at a time,
// and the others wait.
const groupMost = 5000

// asked is a batch that is to be applied.
type asked struct {
	batch    service.MessageBatch
	prepared service.MessageBatch // nil: the processors have not run on it
	taken    bool                 // somebody applies it; guarded by group.mu
	done     bool                 // err is decided
	err      error
	over     chan struct{} // closed when done and err are final
}

// group is the batches that wait for the next transaction.
type group struct {
	mu      sync.Mutex
	waiting []*asked
	by      atomic.Pointer[ruling] // the rules of the last group; nil: there were none
}

// ruling says where rules in force come from.
type ruling struct {
	file *Set // nil: a version
}

func (g *group) join(a *asked) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a.taken, a.done, a.err, a.over = false, false, nil, make(chan struct{})
	g.waiting = append(g.waiting, a)
}

// take takes the batches of the next transaction, in the order in which they joined.
func (g *group) take() (list []*asked) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, messages := 0, 0
	for n < len(g.waiting) && (n == 0 || messages+len(g.waiting[n].batch) <= groupMost) {
		messages += len(g.waiting[n].batch)
		n++
	}
	list = slices.Clone(g.waiting[:n])
	for _, a := range list {
		a.taken = true
	}
	g.waiting = slices.Delete(g.waiting, 0, n)
	return list
}

// errLeft says that the context of the goroutine that applied the group ended. The batch was not applied; its own
// goroutine tries again.
var errLeft = errors.New("the batch was given up by another")

// WriteBatch applies a batch. When it returns nil, state, position and results are durable; else nothing of the batch
// is, and WriteBatch may be called again with it. It may be called concurrently, if the input hands out one batch of a
// partition at a time, or gives each its turn (event.TurnsOf).
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) (err error) {
	turns := event.TurnsOf(batch)
	turns.Enter()
	defer func() {
		if err == nil {
			turns.Taken()
		}
		turns.Leave()
	}()
	a := &asked{batch: batch}
	for {
		if a.prepared == nil && (o.ruled() || errors.Is(a.err, errUnprepared)) {
			if a.prepared, err = o.prepared(ctx, batch); err != nil {
				return err
			}
		}
		if err = turns.Wait(ctx); err != nil {
			return flow.HandBack(err)
		}
		o.group.join(a)
		o.applied(ctx, a)
		if !errors.Is(a.err, errUnprepared) && !errors.Is(a.err, errLeft) {
			return a.err
		}
	}
}

// ruled tells whether a batch should be prepared before it joins a group: there were rules for the last group, and the
// file has not changed since.
func (o *output) ruled() bool {
	by := o.group.by.Load()
	return by != nil && (by.file == nil || by.file == o.rules.Get())
}

// has tells whether a batch was taken.
func (g *group) has(a *asked) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return a.taken
}

// applied returns when a batch that has joined was applied, by this goroutine or another, and its err is final.
func (o *output) applied(ctx context.Context, a *asked) {
	for {
		o.mu.Lock()
		if o.group.has(a) {
			o.mu.Unlock()
			<-a.over
			return
		}
		o.applyNext(ctx, a)
	}
}

// applyNext applies the next group of batches, which may or may not include a. The caller holds mu; applyNext releases
// it.
func (o *output) applyNext(ctx context.Context, a *asked) {
	list, locked := o.group.take(), true
	err := o.answered(ctx, func() error {
		err := errSwitched
		for errors.Is(err, errSwitched) {
			if !locked {
				o.mu.Lock()
			}
			locked = false
			err = o.writeGroup(ctx, list)
		}
		return err
	})
	if err != nil && ctx.Err() != nil {
		for _, other := range list {
			if other != a && other.err == nil {
				other.done, other.err = true, errLeft
			}
		}
	}
	for _, one := range list {
		if !one.done {
			one.done, one.err = true, err
		}
		close(one.over)
	}
}

// writeGroup applies the batches that are prepared, by the rules in force; the others get errUnprepared. Without any
// rules, it only deletes what is kept of their partitions. The caller holds mu; writeGroup releases it.
func (o *output) writeGroup(ctx context.Context, list []*asked) error {
	unlock := sync.OnceFunc(o.mu.Unlock)
	defer unlock()
	if o.db == nil {
		return service.ErrNotConnected
	}
	set, seq, err := o.inForce(ctx)
	if err != nil {
		return err
	}
	if o.none(set) {
		o.group.by.Store(nil)
		var all service.MessageBatch
		for _, a := range list {
			all = append(all, a.batch...)
		}
		o.await()
		defer o.store.Unlock()
		return o.clear(ctx, set, all)
	}
	by := &ruling{}
	if o.force.set == nil {
		by.file = set
	}
	o.group.by.Store(by)
	var all service.MessageBatch
	for _, a := range list {
		switch {
		case a.done:
		case a.prepared == nil:
			a.done, a.err = true, errUnprepared
		case all == nil:
			all = a.prepared
		default:
			all = append(all[:len(all):len(all)], a.prepared...)
		}
	}
	if all == nil {
		return nil
	}
	return o.writePrepared(ctx, set, seq, all, unlock)
}
