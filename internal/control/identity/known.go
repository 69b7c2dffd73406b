package identity

import (
	"sync"
	"time"

	"weir/internal/lifecycle/tombstone"
)

// known is what a process has read or written and need not ask for again: nearly all
// that events say. It holds for the tombstones under which it was learned. What is
// erased after it was learned would be missing here as there, and not noted when it
// is said again; so while an erasure may be under way in a fleet, nothing is learned
// of it.
type known struct {
	mu     sync.Mutex
	seq    int64     // of the tombstones
	since  time.Time // when these were first seen
	recent map[fact]int64
	older  map[fact]int64
}

// fact is a claim, by user and anonymous id, or that a subject was seen on a device.
type fact struct {
	fleet, a, b string
	device      bool
}

const (
	factsMost = 100_000          // of each of two generations
	settled   = 30 * time.Minute // after its tombstone, an erasure has deleted what it deletes
)

// facts calls each with what an event says, and when.
func (s *Seen) facts(fleet string, each func(fact, int64) bool) bool {
	if s.User != "" && s.Anonymous != "" && !each(fact{fleet, s.User, s.Anonymous, false}, s.At.UnixMicro()) {
		return false
	}
	for _, subject := range [2]string{s.User, s.Anonymous} {
		if subject != "" && s.Device != "" && !each(fact{fleet, subject, s.Device, true}, 0) {
			return false
		}
	}
	return true
}

// news leaves out the events all of which is known.
func (k *known) news(fleet string, seen []Seen, gone *graves, now time.Time) (fresh []Seen) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.recent == nil || k.seq != gone.seq {
		k.seq, k.since, k.recent, k.older = gone.seq, now, map[fact]int64{}, nil
	}
	for i := range seen {
		if !seen[i].facts(fleet, k.has) {
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
		seen[i].facts(fleet, func(f fact, at int64) bool {
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
