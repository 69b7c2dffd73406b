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

// Batches of different partitions that come at the same time are one transaction:
// while it is written to the disk, the next ones are prepared, and gather. So a batch
// waits for those before it and for nothing else, however much or little comes. Of one
// partition, the next is prepared while the one before is applied and written; it is
// applied when that one is durable.

// groupMost bounds the messages of a transaction, beside its first batch: the store
// has one writer at a time, and others wait.
const groupMost = 5000

// asked is a batch that is to be applied.
type asked struct {
	batch    service.MessageBatch
	prepared service.MessageBatch // nil: nothing was done with it yet
	taken    bool                 // by who applies it; of the group
	done     bool
	err      error
	over     chan struct{} // closed when the rest says what became of it
}

// group is the batches that wait for the next transaction.
type group struct {
	mu      sync.Mutex
	waiting []*asked
	by      atomic.Pointer[ruling] // the rules of the last one; nil: there were none
}

// ruling says where the rules in force were from.
type ruling struct {
	file *Set // nil: a version
}

func (g *group) join(a *asked) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a.taken, a.done, a.err, a.over = false, false, nil, make(chan struct{})
	g.waiting = append(g.waiting, a)
}

// take is whose turn it is, in the order in which they came.
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

// errLeft says that who applied a batch together with its own was told to stop. The
// batch is not applied, and may be by another.
var errLeft = errors.New("the batch was given up by another")

// WriteBatch applies a batch. When it returns nil, what follows from it is
// durable; else nothing is, and it may be called again with the same batch. Of one
// partition one batch at a time is under way, or each has its turn.
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

// ruled tells whether a batch is prepared without being asked to be: there were rules
// for the one before, and the file has no others since.
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

// applied returns when a batch that waits was applied, by whoever has the turn.
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

// applyNext applies the batches whose turn it is, of which one may be its own. It is
// called with mu, and gives it up.
func (o *output) applyNext(ctx context.Context, a *asked) {
	list := o.group.take()
	err := o.writeGroup(ctx, list)
	for errors.Is(err, errSwitched) {
		o.mu.Lock()
		err = o.writeGroup(ctx, list)
	}
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

// writeGroup applies batches by the rules in force, once they are prepared; those that
// are not are told so, and come again. Without any rules, it only sees to it that
// nothing is kept. It is called with mu, and gives it up.
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
