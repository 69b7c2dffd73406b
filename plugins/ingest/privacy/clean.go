package privacy

import (
	"hash/maphash"

	"weir/internal/platform/pii"
)

// clean is what a walker has looked through and found nothing in: that a browser says
// the same of itself in each event is seen once. Whether there is anything in a text is
// told by its bytes, what its field's name hints at, and the policy, which a walker has
// one of; so it may forget, and what it knows is as it was. It has no text: a number of
// 128 bits, which no other process has and nobody can choose, stands for each.
type clean struct {
	seeds  [2]maphash.Seed
	recent map[cleanText]struct{}
	older  map[cleanText]struct{}
}

type cleanText struct {
	sum  [2]uint64
	hint pii.Hint
}

const (
	cleanMost    = 4096 // texts of each of two generations
	cleanLongest = 1024 // bytes; longer ones hardly come again
)

// of is what stands for a text.
func (c *clean) of(text []byte, hint pii.Hint) cleanText {
	if c.recent == nil {
		c.seeds, c.recent = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, map[cleanText]struct{}{}
	}
	return cleanText{[2]uint64{maphash.Bytes(c.seeds[0], text), maphash.Bytes(c.seeds[1], text)}, hint}
}

func (c *clean) has(t cleanText) bool {
	if _, is := c.recent[t]; is {
		return true
	}
	_, is := c.older[t]
	if is {
		c.add(t)
	}
	return is
}

func (c *clean) add(t cleanText) {
	if len(c.recent) >= cleanMost {
		c.recent, c.older = c.older, c.recent
		clear(c.recent)
		if c.recent == nil {
			c.recent = map[cleanText]struct{}{}
		}
	}
	c.recent[t] = struct{}{}
}
