package lake

import (
	"slices"
	"sync"
)

// spared remembers objects of which holds keep every row, so that a run of
// retention need not read them again: objects do not change. It forgets with
// the process.
type spared struct {
	mu   sync.Mutex
	held []string
	by   map[string]int64 // rows, by key
}

// maxSpared bounds the memory: some 100 bytes each.
const maxSpared = 100_000

// rows returns how many rows an object is known to keep under these holds.
func (s *spared) rows(key string, held []string) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.held, held) {
		return 0, false
	}
	n, ok := s.by[key]
	return n, ok
}

func (s *spared) note(key string, held []string, rows int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil || len(s.by) >= maxSpared || !slices.Equal(s.held, held) {
		s.held, s.by = held, map[string]int64{}
	}
	s.by[key] = rows
}
