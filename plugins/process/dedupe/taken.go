package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// taken are the claims that one group of requests makes: a table by hash, used
// again by every group. Of two claims on one identity the first one counts.
type taken struct {
	claims []made
	slots  []int32 // an open table of places in claims, plus one
}

// made is a claim that was not there before.
type made struct {
	hash  uint64
	order uint64 // the beginning of the key
	claim *claim
}

// begin makes room for what the group may take.
func (t *taken) begin(group []*request) {
	n := 0
	for _, r := range group {
		n += len(r.claims)
	}
	clear(t.claims) // they hold their requests' memory
	t.claims = t.claims[:0]
	size := 64
	for size < 2*n {
		size *= 2
	}
	if cap(t.slots) < size {
		t.slots = make([]int32, size)
	}
	t.slots = t.slots[:size]
	clear(t.slots)
}

// find returns the delivery that took the identity, nil when none did.
func (t *taken) find(hash uint64, key []byte) []byte {
	for i := hash; ; i++ {
		at := t.slots[i&uint64(len(t.slots)-1)]
		if at == 0 {
			return nil
		}
		if m := &t.claims[at-1]; m.hash == hash && bytes.Equal(m.claim.key, key) {
			return m.claim.mine
		}
	}
}

func (t *taken) add(hash uint64, c *claim) {
	t.claims = append(t.claims, made{hash, binary.BigEndian.Uint64(c.key), c}) // a key begins with 16 bytes of a UUID
	for i := hash; ; i++ {
		if at := &t.slots[i&uint64(len(t.slots)-1)]; *at == 0 {
			*at = int32(len(t.claims))
			return
		}
	}
}

// sorted returns the claims by their keys, which is how they are cheapest to
// insert: each next to the one before. The table is of no use after it.
func (t *taken) sorted() []made {
	slices.SortFunc(t.claims, func(a, b made) int {
		if c := cmp.Compare(a.order, b.order); c != 0 {
			return c
		}
		return bytes.Compare(a.claim.key, b.claim.key)
	})
	return t.claims
}
