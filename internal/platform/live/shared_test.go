package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func (s *Shared) kept() (answers, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.known), s.bytes
}

// Equal questions share an answer while it is made and for as long as it is kept; others do not.
func TestShared_EqualQuestionsShareAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, asked := &Shared{Keep: time.Second, Most: 1 << 10}, atomic.Int64{}
		ask := func(context.Context) ([]byte, error) {
			time.Sleep(400 * time.Millisecond)
			return fmt.Append(nil, asked.Add(1)), nil
		}
		want := func(question, answer string) {
			t.Helper()
			if got, err := s.Get(t.Context(), question, ask); err != nil || string(got) != answer {
				t.Errorf("%s: %s %v, not %s", question, got, err, answer)
			}
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { want("a", "1") })
		}
		all.Wait()
		want("b", "2")
		want("a", "1")
		time.Sleep(200*time.Millisecond - time.Nanosecond)
		want("a", "1") // a second less a nanosecond after it was begun
		time.Sleep(time.Nanosecond)
		want("a", "3")
		time.Sleep(2 * time.Second)
		if n, bytes := s.kept(); n > 0 || bytes != 0 {
			t.Errorf("%d answers of %d bytes are kept for ever", n, bytes)
		}
	})
}

// An answer that takes longer than it may be kept is of those who asked in time.
func TestShared_AnOldAnswerIsOfNobodyWhoAsksNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, asked := &Shared{Keep: time.Second, Most: 1 << 10}, atomic.Int64{}
		ask := func(context.Context) ([]byte, error) {
			n := asked.Add(1)
			time.Sleep(3 * time.Second)
			return fmt.Append(nil, n), nil
		}
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				if got, err := s.Get(t.Context(), "a", ask); err != nil || string(got) != fmt.Sprint(i/2+1) {
					t.Errorf("asked in half second %d: %s %v", i, got, err)
				}
			})
			time.Sleep(500 * time.Millisecond)
		}
		all.Wait()
		if n, bytes := s.kept(); n > 0 || bytes != 0 {
			t.Errorf("%d answers of %d bytes are kept", n, bytes)
		}
	})
}

// Whoever goes leaves the question to others; a failure is told to who waits for it, and not kept.
func TestShared_FailuresAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fails := &Shared{Keep: time.Minute, Most: 1 << 10}, errors.New("the store is down")
		first, leave := context.WithCancel(t.Context())
		slow := func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := s.Get(first, "a", slow); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			got, err := s.Get(t.Context(), "a", func(context.Context) ([]byte, error) { return []byte("here"), nil })
			if err != nil || string(got) != "here" {
				t.Error("after another had gone:", string(got), err)
			}
		})
		synctest.Wait()
		leave()
		all.Wait()
		for range 2 {
			all.Go(func() {
				if _, err := s.Get(t.Context(), "b", func(context.Context) ([]byte, error) {
					time.Sleep(time.Second)
					return nil, fails
				}); !errors.Is(err, fails) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got, err := s.Get(t.Context(), "b", func(context.Context) ([]byte, error) { return nil, nil }); err != nil {
			t.Error("a failure was kept:", got, err)
		}
	})
}

// What is kept is bounded in bytes.
func TestShared_KeepsNoMoreThanItMay(t *testing.T) {
	s, asked := &Shared{Keep: time.Hour, Most: 1000}, 0
	ask := func(context.Context) ([]byte, error) { asked++; return make([]byte, 99), nil }
	for round := range 2 {
		for i := range 30 {
			if _, err := s.Get(t.Context(), string(rune('A'+i)), ask); err != nil {
				t.Fatal(err)
			}
		}
		if n, bytes := s.kept(); n != 10 || bytes != 1000 || asked != 30+20*round {
			t.Errorf("%d answers of %d bytes are kept, asked %d times", n, bytes, asked)
		}
	}
}
