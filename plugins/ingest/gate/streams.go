package gate

import "sync"

// streams counts the long connections, for which the HTTP server does not wait.
type streams struct {
	mu     sync.Mutex
	open   int
	closed bool
	idle   chan struct{} // closed when none is open after close
	m      *metrics
}

func newStreams(m *metrics) *streams { return &streams{idle: make(chan struct{}), m: m} }

func (s *streams) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.open++
	s.m.streams.Set(int64(s.open))
	return true
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.m.streams.Set(int64(s.open))
	if s.closed && s.open == 0 {
		close(s.idle)
	}
}

// close admits no more, and returns a channel that is closed when all have left.
func (s *streams) close() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		if s.open == 0 {
			close(s.idle)
		}
	}
	return s.idle
}
