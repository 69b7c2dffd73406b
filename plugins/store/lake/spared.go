package lake

import (
	"slices"
	"sync"
	"time"
)

// spared remembers the objects of which retention keeps every row, because of holds or their age,
// so that the next run need not read them: objects do not change. It is in memory only.
type spared struct {
	mu   sync.Mutex
	held []string
	by   map[string]sparing // by key
}

type sparing struct {
	kept int64     // rows that are kept only because of holds
	next time.Time // when the first of the other rows was received; zero: none
}

// maxSpared bounds the number of objects in memory, of some 100 bytes each.
const maxSpared = 100_000

// rows returns how many rows of an object are kept only because of these holds. ok is false unless
// it is known that nothing in the object is to be deleted, of what was received before a time.
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
