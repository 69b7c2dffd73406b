package lake

import (
	"slices"
	"sync"
	"time"
)

// spared remembers objects of which every row stays, held or for its time, so
// that a run of retention need not read them again: objects do not change. It
// forgets with the process.
type spared struct {
	mu   sync.Mutex
	held []string
	by   map[string]sparing // by key
}

type sparing struct {
	kept int64     // rows that only holds keep
	next time.Time // when the first of the others was received; zero without others
}

// maxSpared bounds the memory: some 100 bytes each.
const maxSpared = 100_000

// rows returns how many rows of an object only these holds keep, if it is known
// that nothing of it goes that was received before a time.
func (s *spared) rows(key string, held []string, before time.Time) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.held, held) {
		return 0, false
	}
	o, ok := s.by[key]
	return o.kept, ok && (o.next.IsZero() || !o.next.Before(before))
}

func (s *spared) note(key string, held []string, kept int64, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil || len(s.by) >= maxSpared || !slices.Equal(s.held, held) {
		s.held, s.by = held, map[string]sparing{}
	}
	s.by[key] = sparing{kept, next}
}
