package dedupe

import (
	"bytes"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/internal/event"
)

// Whatever was remembered since, a claim is found as it was made, or not at all.
func TestDedupe_RecentClaimsAreFoundAsTheyWereMade(t *testing.T) {
	r, seed := newRecent(recentMost), maphash.MakeSeed()
	rng := rand.New(rand.NewPCG(1, 2))
	fleets := []string{"a", "plant-7", strings.Repeat("f", 64), strings.Repeat("long", 500), strings.Repeat("x", 1<<16)}
	type made struct {
		claim
		hash uint64
	}
	var all []made
	found, newest := 0, 0
	for n := range 3 * recentMost {
		var id [16]byte
		for i := range id {
			id[i] = byte(rng.Uint32())
		}
		fleet := fleets[0]
		if k := rng.IntN(400); k < len(fleets) {
			fleet = fleets[k]
		}
		c := claim{key: appendKey(nil, fleet, id), mine: appendCoordinates(nil, event.Coordinates{Topic: "raw-events",
			Partition: 3, Offset: int64(n)}, 7)}
		m := made{c, maphash.Bytes(seed, c.key)}
		r.add(m.hash, int64(n+1), &c)
		if held := r.find(m.hash, m.key, 0); bytes.Equal(held, m.mine) {
			newest++
		} else if held != nil || len(fleet) < 1<<15 {
			t.Fatalf("just added, it is %x, and found as %x", m.mine, held)
		}
		all = append(all, m)
		old := &all[rng.IntN(len(all))]
		if held := r.find(old.hash, old.key, 0); held != nil {
			if found++; !bytes.Equal(held, old.mine) {
				t.Fatalf("added as %x, it is found as %x", old.mine, held)
			}
		}
	}
	if found < recentMost/2 || newest < len(all)*9/10 {
		t.Errorf("of %d, %d were found at once and %d later", len(all), newest, found)
	}
	last := &all[len(all)-1]
	if r.find(last.hash, last.key, int64(len(all))) != nil {
		t.Error("an expired claim is found")
	}
	if r.find(last.hash, append(bytes.Clone(last.key[:16]), "other"...), 0) != nil {
		t.Error("another fleet's claim is found")
	}
}
