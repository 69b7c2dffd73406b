package apikey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a time that a test moves.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.ns.Load()) }
func (c *clock) pass(d time.Duration) { c.ns.Add(int64(d)) }

func cached(t testing.TB, s *Store, opts CacheOptions) *Cache {
	t.Helper()
	c, err := NewCache(t.Context(), s, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAPIKey_RevocationTakesEffectWithinTheRefresh(t *testing.T) {
	s := open(t)
	text, k := create(t, s, "acme", Options{})
	c := cached(t, s, CacheOptions{Refresh: 50 * time.Millisecond})
	if _, err := c.Check(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Second)
	for time.Now().Before(deadline) {
		if _, err := c.Check(t.Context(), text); errors.Is(err, ErrUnknown) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the revoked key still works")
}

func TestAPIKey_NewKeyWorksAtOnce(t *testing.T) {
	s := open(t)
	c := cached(t, s, CacheOptions{Refresh: time.Hour})
	text, _ := create(t, s, "acme", Options{})
	if k, err := c.Check(t.Context(), text); err != nil || k.Fleet != "acme" {
		t.Fatal(k, err)
	}
	if _, err := c.Check(t.Context(), flip(text)); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
}

func TestAPIKey_KnownKeysWorkWhileTheStoreIsDown(t *testing.T) {
	s := open(t)
	clk := newClock()
	text, _ := create(t, s, "acme", Options{})
	expiring, _ := create(t, s, "acme", Options{ExpiresAt: clk.now().Add(time.Hour)})
	var failures atomic.Int64
	c := cached(t, s, CacheOptions{Refresh: 20 * time.Millisecond, Now: clk.now, OnError: func(error) { failures.Add(1) }})
	_ = s.db.Close()
	clk.pass(30 * time.Minute)
	time.Sleep(100 * time.Millisecond)
	for _, known := range []string{text, expiring} {
		if _, err := c.Check(t.Context(), known); err != nil {
			t.Errorf("a known key: %v", err)
		}
	}
	_, strange := newText()
	if _, err := c.Check(t.Context(), strange); !errors.Is(err, errUnavailable) {
		t.Errorf("an unknown key cannot be told from a new one: %v", err)
	}
	clk.pass(31 * time.Minute)
	if _, err := c.Check(t.Context(), expiring); !errors.Is(err, ErrUnknown) {
		t.Errorf("an expired key: %v", err)
	}
	if failures.Load() == 0 {
		t.Error("nobody was told that the store is down")
	}
}

func TestAPIKey_FloodOfBadKeysDoesNotReachTheStore(t *testing.T) {
	s := open(t)
	clk := newClock()
	good, _ := create(t, s, "acme", Options{})
	c := cached(t, s, CacheOptions{Refresh: time.Hour, Now: clk.now})
	for range 20_000 {
		_, text := newText()
		if _, err := c.Check(t.Context(), text); !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
	}
	c.mu.RLock()
	asked := len(c.unknown) // each question to the store leaves its answer here
	c.mu.RUnlock()
	if asked > missesBurst {
		t.Errorf("the store was asked %d times", asked)
	}
	if _, err := c.Check(t.Context(), good); err != nil {
		t.Errorf("a good key in the flood: %v", err)
	}
	late, _ := create(t, s, "late", Options{})
	clk.pass(time.Second)
	if _, err := c.Check(t.Context(), late); err != nil {
		t.Errorf("a new key after the flood: %v", err)
	}
}

// A key that is made in the middle of a flood is not refused until the next refresh,
// which may be half a minute away: the flood itself has one made early, now and then.
func TestAPIKey_NewKeyWorksInAFloodOfBadOnes(t *testing.T) {
	s := open(t)
	clk := newClock() // stands still: no question to the store is left after the first ones
	c := cached(t, s, CacheOptions{Refresh: time.Hour, Now: clk.now})
	flood := func() {
		for range 2 * missesBurst {
			_, text := newText()
			if _, err := c.Check(t.Context(), text); !errors.Is(err, ErrUnknown) {
				t.Fatal(err)
			}
		}
	}
	flood()
	text, _ := create(t, s, "acme", Options{})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		flood()
		if _, err := c.Check(t.Context(), text); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the new key: %v", err)
		}
	}
}

// A new key that many devices begin to use at once is asked for once, and none
// of them is refused: there are more of them than the store is asked in a burst.
func TestAPIKey_NewKeyWorksForAllWhoComeAtOnce(t *testing.T) {
	s := open(t)
	c := cached(t, s, CacheOptions{Refresh: time.Hour})
	text, _ := create(t, s, "acme", Options{})
	s.db.SetMaxOpenConns(1)
	held, err := s.db.Conn(t.Context()) // the store does not answer before it is given back
	if err != nil {
		t.Fatal(err)
	}
	var devices sync.WaitGroup
	var begun atomic.Int64
	const most = 4 * missesBurst
	for range most {
		devices.Go(func() {
			begun.Add(1)
			if _, err := c.Check(t.Context(), text); err != nil {
				t.Error(err)
			}
		})
	}
	for begun.Load() < most {
		time.Sleep(time.Millisecond)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	devices.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens < missesBurst-1 || len(c.asked) > 0 {
		t.Errorf("%v of %d questions are left, %d are open", c.tokens, missesBurst, len(c.asked))
	}
}

// What the store says of a key while a refresh brings it is not put over that: it may
// have been read before the key was revoked. And a refresh that had read the list before
// a key was made does not forget the key.
func TestAPIKey_TheNewestWordOfAKeyCounts(t *testing.T) {
	s := open(t)
	clk := newClock()
	c := cached(t, s, CacheOptions{Refresh: time.Hour, Now: clk.now})
	text, k := create(t, s, "acme", Options{})
	if _, err := c.Check(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	delete(c.keys, k.ID) // as if it had been asked for, and the answer were on its way
	stale := k
	c.mu.Unlock()
	if err := s.Revoke(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.learn(&question{done: make(chan struct{})}, k.ID, stale, nil)
	c.mu.Unlock()
	if _, err := c.Check(t.Context(), text); !errors.Is(err, ErrUnknown) {
		t.Errorf("the revoked key: %v", err)
	}

	late, of := create(t, s, "late", Options{})
	c.mu.Lock()
	c.learn(&question{done: make(chan struct{})}, of.ID, of, nil)
	c.swap(nil, c.version, clk.now()) // of a refresh that has read nothing of it
	c.mu.Unlock()
	c.mu.RLock()
	kept := c.keys[of.ID] != nil
	c.mu.RUnlock()
	if !kept {
		t.Error("a key that was found while the list was read is forgotten")
	}
	if _, err := c.Check(t.Context(), late); err != nil {
		t.Error(err)
	}
}

func TestAPIKey_LastUseIsNotedInTheBackground(t *testing.T) {
	s := open(t)
	text, k := create(t, s, "acme", Options{})
	c, err := NewCache(t.Context(), s, CacheOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Check(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if k, _ := s.get(t.Context(), k.ID); k.LastUsedAt != nil {
		t.Error("a request wrote to the store")
	}
	c.Close()
	if k, err := s.get(t.Context(), k.ID); err != nil || k.LastUsedAt == nil || time.Since(*k.LastUsedAt) > time.Minute {
		t.Errorf("%v %v", k.LastUsedAt, err)
	}
}

func TestAPIKey_ErrorsTellNoSecret(t *testing.T) {
	s := open(t)
	c := cached(t, s, CacheOptions{Refresh: time.Hour})
	_ = s.db.Close()
	_, text := newText()
	_, err := c.Check(t.Context(), text)
	if err == nil || strings.Contains(fmt.Sprint(err), text) || strings.Contains(fmt.Sprint(err), text[20:]) {
		t.Errorf("%v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	s := open(b)
	text, _ := create(b, s, "acme", Options{})
	c := cached(b, s, CacheOptions{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Check(context.Background(), text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
