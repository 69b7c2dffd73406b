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

// Turn is the place of a batch among those of its partition that are under way at
// once: log_input hands the next one out before the one before it is acknowledged, and
// each message carries the turn of its batch. An output that keeps the order of the log
// waits for the batches before, and notes what it has taken.
//
// A batch is over when all of its messages were taken, or when it was acknowledged: what
// something between the two dropped holds nobody up.
type Turn struct {
	before atomic.Pointer[Turn]
	left   atomic.Int64 // messages that were not taken yet
	here   atomic.Int64 // writes of its messages that are under way
	was    atomic.Int64 // when the last of them ended, in Unix nanoseconds
	once   sync.Once
	over   chan struct{}
}

// NewTurn makes the turn of a batch of so many messages, behind another one; nil is
// behind none.
func NewTurn(before *Turn, messages int) *Turn {
	t := &Turn{over: make(chan struct{})}
	t.left.Store(int64(messages))
	t.before.Store(before)
	t.shorten()
	return t
}

// Give lets a message carry the turn.
func (t *Turn) Give(msg *service.Message) { msg.MetaSetMut(MetaTurn, t) }

// End notes that the batch is over.
func (t *Turn) End() {
	t.once.Do(func() { close(t.over) })
	t.shorten()
}

// shorten lets go of those before that are over, so that nobody keeps all of them.
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

// Turns are those of the messages of a batch: one, unless batches were put together.
type Turns []taking

type taking struct {
	*Turn
	messages int64
}

// TurnsOf returns the turns that a batch's messages carry.
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

// longestAway is for how long a batch waits for one before it that is not being written.
// That may have been refused, and have no way here before this one makes room: this one is
// refused then, and comes again behind it.
const longestAway = 10 * time.Second

var errBefore = errors.New("the batch before it is not here: this one comes again behind that one")

// Enter notes that these messages are being written, until Leave.
func (list Turns) Enter() {
	for _, t := range list {
		t.here.Add(1)
	}
}

// Leave notes that they are not any more; they may be again.
func (list Turns) Leave() {
	for _, t := range list {
		t.was.Store(time.Now().UnixNano())
		t.here.Add(-1)
	}
}

// Wait returns when all batches before are over, but for those that are among these; an
// error when one of them is neither written nor comes to be.
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

// await returns when the batch is over.
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

// Taken notes that the output has these messages.
func (list Turns) Taken() {
	for _, t := range list {
		if t.left.Add(-t.messages) <= 0 {
			t.End()
		}
	}
}
