package live

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Shared lets equal questions share an answer: those that come while one is being answered, and for Keep after that one
// began. An error is shared with those who wait for it, and not kept. It may be used concurrently.
type Shared struct {
	Keep time.Duration // the oldest that an answer may be, from when its question was begun
	Most int           // bytes of all kept answers and their questions; an answer beyond that is not kept

	mu    sync.Mutex
	known map[string]*shared // by question
	bytes int
}

// shared is a question that is being answered, or was. answer and err do not change once done is closed.
type shared struct {
	began  time.Time
	done   chan struct{}
	answer []byte
	err    error
}

// Get returns the answer to a question, which the caller must not modify. ask runs with the ctx of the first who
// asks; when that ends, the next one asks again.
func (s *Shared) Get(ctx context.Context, question string, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	for {
		one, mine := s.join(question)
		if mine {
			return s.lead(ctx, question, one, ask)
		}
		select {
		case <-one.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !errors.Is(one.err, context.Canceled) && !errors.Is(one.err, context.DeadlineExceeded) {
			return one.answer, one.err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// join returns what is known of a question, or what the caller has to answer.
func (s *Shared) join(question string) (one *shared, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one = s.known[question]; one != nil && time.Since(one.began) < s.Keep {
		return one, false
	}
	if one != nil {
		s.drop(question, one)
	}
	one = &shared{began: time.Now(), done: make(chan struct{})}
	if s.known == nil {
		s.known = map[string]*shared{}
	}
	s.known[question] = one
	return one, true
}

// lead asks, and keeps the answer while there is room and time.
func (s *Shared) lead(ctx context.Context, question string, one *shared,
	ask func(context.Context) ([]byte, error)) ([]byte, error) {
	one.err = errors.New("the question was given up") // if ask panics
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(one.done)
		if s.known[question] != one { // it took longer than Keep, and was asked again
			return
		}
		size, left := len(question)+len(one.answer), s.Keep-time.Since(one.began)
		if one.err != nil || left <= 0 || s.bytes+size > s.Most {
			delete(s.known, question)
			return
		}
		s.bytes += size
		time.AfterFunc(left, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.known[question] == one {
				s.drop(question, one)
			}
		})
	}()
	one.answer, one.err = ask(ctx)
	return one.answer, one.err
}

// drop forgets a question. The caller holds mu.
func (s *Shared) drop(question string, one *shared) {
	delete(s.known, question)
	select {
	case <-one.done:
		s.bytes -= len(question) + len(one.answer)
	default: // it is still being answered, and not counted
	}
}
