package identity

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// known is what a process has read or written and need not ask for again: nearly all
// that events say. It holds for the tombstones under which it was learned. What is
// erased after it was learned would be missing here as there, and not noted when it
// is said again; so while an erasure may be under way in a fleet, nothing is learned
// of it. It has no id of anybody: of a fact it keeps a number of 128 bits, which no
// other process has and nobody can choose.
type known struct {
	mu     sync.Mutex
	seq    int64     // of the tombstones
	since  time.Time // when these were first seen
	recent map[fact]int64
	older  map[fact]int64
	seeds  [2]maphash.Seed
	text   []byte
}

// fact stands for a claim, by user and anonymous id, or for that a subject was seen on
// a device.
type fact [2]uint64

const (
	factsMost = 500_000          // of each of two generations, of some 40 bytes each
	settled   = 30 * time.Minute // after its tombstone, an erasure has deleted what it deletes
)

// What a fact is about.
const (
	ofClaim  = 'c'
	ofDevice = 'd'
)

// fact is that of a kind about two ids. The caller holds mu.
func (k *known) fact(kind byte, fleet, a, b string) fact {
	text := append(k.text[:0], kind)
	for _, part := range [...]string{fleet, a, b} {
		text = append(binary.AppendUvarint(text, uint64(len(part))), part...)
	}
	k.text = text
	return fact{maphash.Bytes(k.seeds[0], text), maphash.Bytes(k.seeds[1], text)}
}

// facts calls each with what an event says, and when, until it returns false.
func (k *known) facts(fleet string, s *Seen, each func(fact, int64) bool) bool {
	if s.User != "" && s.Anonymous != "" && !each(k.fact(ofClaim, fleet, s.User, s.Anonymous), s.At.UnixMicro()) {
		return false
	}
	for _, subject := range [2]string{s.User, s.Anonymous} {
		if subject != "" && s.Device != "" && !each(k.fact(ofDevice, fleet, subject, s.Device), 0) {
			return false
		}
	}
	return true
}

// news leaves out the events all of which is known.
func (k *known) news(fleet string, seen []Seen, gone *graves, now time.Time) (fresh []Seen) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.recent == nil {
		k.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	}
	if k.recent == nil || k.seq != gone.seq {
		k.seq, k.since, k.recent, k.older = gone.seq, now, map[fact]int64{}, nil
	}
	for i := range seen {
		if !k.facts(fleet, &seen[i], k.has) {
			fresh = append(fresh, seen[i])
		}
	}
	return fresh
}

func (k *known) has(f fact, at int64) bool {
	first, ok := k.recent[f]
	if !ok {
		if first, ok = k.older[f]; ok {
			k.put(f, first)
		}
	}
	return ok && first <= at
}

// learn takes in what events say that is in the store.
func (k *known) learn(fleet string, seen []Seen, gone *graves, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seq != gone.seq || gone.set.Touches(fleet, tombstone.Micros(0)) && now.Sub(k.since) < settled {
		return
	}
	for i := range seen {
		k.facts(fleet, &seen[i], func(f fact, at int64) bool {
			if first, ok := k.recent[f]; !ok || at < first {
				k.put(f, at)
			}
			return true
		})
	}
}

func (k *known) put(f fact, at int64) {
	if len(k.recent) >= factsMost {
		k.recent, k.older = map[fact]int64{}, k.recent
	}
	k.recent[f] = at
}
