package flow

import (
	"fmt"
	"sync"
	"time"
)

// Burst says what may happen thousands of times a second a few times in a while
// for each kind: the first ones at once, and then how often it was more.
type Burst struct {
	every time.Duration
	first int
	say   func(text string)

	mu    sync.Mutex
	kinds map[string]*burst
}

type burst struct {
	said int // at once, within the while
	more int
	last string
}

// NewBurst makes one that calls say at most once in every for each kind.
func NewBurst(every time.Duration, say func(text string)) *Burst { return NewBursts(every, 1, say) }

// NewBursts makes one that calls say for the first of each kind in every, and once
// for all others.
func NewBursts(every time.Duration, first int, say func(text string)) *Burst {
	return &Burst{every: every, first: first, say: say, kinds: map[string]*burst{}}
}

// Note says the text, or counts it. The kinds are to be few: they are kept.
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
