package dedupe

import "bytes"

// recentMost is how many claims are remembered: two seconds of 50,000 a second.
const recentMost = 1 << 17

// recent remembers the newest claims. Every group asks for the same events
// within a moment of each other, and the first to ask made the claims: the
// others need no look into the store. A claim does not change until it expires,
// so what is remembered is what the store holds. Its memory is that of the
// requests that made the claims: some 30 MiB.
type recent struct{ slots []remembered }

type remembered struct {
	hash uint64
	at   int64 // Unix milliseconds
	key  []byte
	mine []byte
}

func newRecent() recent { return recent{make([]remembered, recentMost)} }

func (r recent) slot(hash uint64) *remembered { return &r.slots[hash%recentMost] }

// add remembers a claim in place of another.
func (r recent) add(hash uint64, at int64, c *claim) {
	*r.slot(hash) = remembered{hash, at, c.key, c.mine}
}

// find returns the coordinates that hold the key, if it is remembered as claimed
// after the given time. That it is not says nothing.
func (r recent) find(hash uint64, key []byte, after int64) []byte {
	s := r.slot(hash)
	if s.hash != hash || s.at <= after || !bytes.Equal(s.key, key) {
		return nil
	}
	return s.mine
}
