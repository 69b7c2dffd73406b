package identity

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// known caches facts that this process has read from or written to the store, since nearly all events repeat known
// facts. It is valid for one set of tombstones: a fact that is erased after it was cached would wrongly be taken as
// stored. So the cache is emptied when there are new tombstones, and learns nothing of a fleet while an erasure may
// be under way in it. It holds no ids: each fact is a 128-bit hash with seeds of this process. It may be used
// concurrently.
type known struct {
	mu     sync.Mutex
	seq    int64     // sequence number of the tombstones it is valid for
	since  time.Time // when that number was first seen
	recent map[fact]int64
	older  map[fact]int64
	seeds  [2]maphash.Seed
	text   []byte
}

// fact is the hash of a claim (user, anonymous id) or of a subject seen on a device.
type fact [2]uint64

const (
	factsMost = 500_000          // in each of two generations; some 40 bytes each
	settled   = 30 * time.Minute // an erasure has finished deleting this long after its tombstone
)

// The kinds of fact.
const (
	ofClaim  = 'c'
	ofDevice = 'd'
)

// fact returns the hash of a fact of this kind about two ids. The caller holds mu.
func (k *known) fact(kind byte, fleet, a, b string) fact {
	text := append(k.text[:0], kind)
	for _, part := range [...]string{fleet, a, b} {
		text = append(binary.AppendUvarint(text, uint64(len(part))), part...)
	}
	k.text = text
	return fact{maphash.Bytes(k.seeds[0], text), maphash.Bytes(k.seeds[1], text)}
}

// facts calls each with every fact that an event states and the time of a claim, until each returns false.
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

// news returns the events that state at least one fact that is not cached.
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

// learn caches the facts of events that are in the store.
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
