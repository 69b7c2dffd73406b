package flow

import (
	"fmt"
	"sync"
	"time"
)

// Burst limits messages that may occur thousands of times a second: of each kind it says the first few per interval,
// and at the interval's end how many more there were. It may be used concurrently.
type Burst struct {
	every time.Duration
	first int
	say   func(text string)

	mu    sync.Mutex
	kinds map[string]*burst
}

type burst struct {
	said int // said in this interval
	more int
	last string
}

// NewBurst returns a Burst that says the first message of each kind per interval.
func NewBurst(every time.Duration, say func(text string)) *Burst { return NewBursts(every, 1, say) }

// NewBursts returns a Burst that says the first messages (their number is first) of each kind per interval, and one
// summary of the others.
func NewBursts(every time.Duration, first int, say func(text string)) *Burst {
	return &Burst{every: every, first: first, say: say, kinds: map[string]*burst{}}
}

// Note says the text or counts it. Use few kinds: the kinds in the current interval are kept in memory.
func (b *Burst) Note(kind, text string) {
	b.mu.Lock()
	if k := b.kinds[kind]; k != nil {
		now := k.said < b.first
		if now {
			k.said++
		} else {
			k.more, k.last = k.more+1, text
		}
		b.mu.Unlock()
		if now {
			b.say(text)
		}
		return
	}
	b.kinds[kind] = &burst{said: 1}
	b.mu.Unlock()
	time.AfterFunc(b.every, func() { b.again(kind) })
	b.say(text)
}

func (b *Burst) again(kind string) {
	b.mu.Lock()
	k := b.kinds[kind]
	if k.more == 0 {
		delete(b.kinds, kind)
		b.mu.Unlock()
		return
	}
	text := fmt.Sprintf("%s (and %d more of this kind within %s)", k.last, k.more-1, b.every)
	if k.more == 1 {
		text = k.last
	}
	k.more, k.said = 0, 1
	b.mu.Unlock()
	time.AfterFunc(b.every, func() { b.again(kind) })
	b.say(text)
}
