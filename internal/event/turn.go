package event

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Turn orders the batches of a partition that are in flight at the same time: log_input delivers the next batch
// before the previous one is acknowledged, and each message carries the Turn of its batch. An output that keeps the
// log's order waits for the previous batches and reports what it has accepted.
//
// A batch is over when all of its messages were accepted or when it was acknowledged, so messages that a processor
// dropped block nobody.
type Turn struct {
	before atomic.Pointer[Turn]
	left   atomic.Int64 // messages not accepted yet
	here   atomic.Int64 // running writes of its messages
	was    atomic.Int64 // when the last write ended, in Unix nanoseconds
	once   sync.Once
	over   chan struct{}
}

// NewTurn makes the turn of a batch with this many messages, after the turn before; nil is the first.
func NewTurn(before *Turn, messages int) *Turn {
	t := &Turn{over: make(chan struct{})}
	t.left.Store(int64(messages))
	t.before.Store(before)
	t.shorten()
	return t
}

// Give attaches the turn to a message.
func (t *Turn) Give(msg *service.Message) { msg.MetaSetMut(MetaTurn, t) }

// End marks the batch as over.
func (t *Turn) End() {
	t.once.Do(func() { close(t.over) })
	t.shorten()
}

// shorten drops references to finished turns, so that the chain does not grow.
func (t *Turn) shorten() {
	for b := t.before.Load(); b != nil; b = b.before.Load() {
		select {
		case <-b.over:
			t.before.Store(b.before.Load())
		default:
			return
		}
	}
}

// Turns are the turns of a batch's messages: one, unless batches were merged.
type Turns []taking

type taking struct {
	*Turn
	messages int64
}

// TurnsOf returns the turns of a batch's messages.
func TurnsOf(batch service.MessageBatch) (list Turns) {
	for _, msg := range batch {
		v, _ := msg.MetaGetImmut(MetaTurn)
		t, is := v.(*Turn)
		if !is {
			continue
		}
		if n := len(list); n == 0 || list[n-1].Turn != t {
			list = append(list, taking{Turn: t})
		}
		list[len(list)-1].messages++
	}
	return list
}

// longestAway is how long a batch waits for a previous one that is not being written. That one may have been rejected
// and may need this batch's place to be delivered again: then this batch fails and is redelivered after it.
const longestAway = 10 * time.Second

var errBefore = errors.New("the batch before it is not here: this one comes again behind that one")

// Enter marks these messages as being written, until Leave.
func (list Turns) Enter() {
	for _, t := range list {
		t.here.Add(1)
	}
}

// Leave marks the write as ended; the messages may be written again.
func (list Turns) Leave() {
	for _, t := range list {
		t.was.Store(time.Now().UnixNano())
		t.here.Add(-1)
	}
}

// Wait returns nil when all previous batches are over, except those in list. It returns errBefore when one of them
// has not been written for longestAway, or the context's error.
func (list Turns) Wait(ctx context.Context) error { return list.wait(ctx, longestAway) }

func (list Turns) wait(ctx context.Context, longest time.Duration) error {
	for _, t := range list {
		for b := t.before.Load(); b != nil; b = b.before.Load() {
			if list.has(b) {
				continue
			}
			if err := b.await(ctx, longest); err != nil {
				return err
			}
		}
	}
	return nil
}

// await returns nil when the batch is over.
func (t *Turn) await(ctx context.Context, longest time.Duration) error {
	select {
	case <-t.over:
		return nil
	default:
	}
	look := time.NewTicker(longest)
	defer look.Stop()
	for {
		select {
		case <-t.over:
			return nil
		case <-look.C:
			if t.here.Load() == 0 && time.Since(time.Unix(0, t.was.Load())) >= longest {
				return errBefore
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting for the batch before: %w", ctx.Err())
		}
	}
}

func (list Turns) has(turn *Turn) bool {
	for _, t := range list {
		if t.Turn == turn {
			return true
		}
	}
	return false
}

// Taken marks these messages as accepted by the output.
func (list Turns) Taken() {
	for _, t := range list {
		if t.left.Add(-t.messages) <= 0 {
			t.End()
		}
	}
}
