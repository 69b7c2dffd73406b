package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// taken is a hash table of the claims that one group of requests makes. It is reused by every group. Of two claims of
// one identity the first wins.
type taken struct {
	claims []made
	slots  []int32 // open addressing: the index in claims plus one
}

// made is a new claim.
type made struct {
	hash  uint64
	order uint64 // the beginning of the key
	claim *claim
}

// begin empties the table and makes room for the claims of the group.
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

// find returns the delivery that has claimed the identity within the group, nil for none.
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

// sorted returns the claims in the order of their keys, in which inserting them is cheapest. The table cannot be used
// after it.
func (t *taken) sorted() []made {
	slices.SortFunc(t.claims, func(a, b made) int {
		if c := cmp.Compare(a.order, b.order); c != 0 {
			return c
		}
		return bytes.Compare(a.claim.key, b.claim.key)
	})
	return t.claims
}
