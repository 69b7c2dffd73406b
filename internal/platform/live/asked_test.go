package live

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Fifty viewers at a time ask once, and all get the answer.
func TestAsked_AllViewersShareAQuestion(t *testing.T) {
	var asked atomic.Int64
	let := make(chan struct{})
	p := &Asked[int64]{Every: time.Hour, Most: time.Minute, Ask: func(context.Context) (int64, error) {
		<-let
		return asked.Add(1), nil
	}}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			p.Refresh(t.Context(), t.Context())
			if v, _, err := p.Last(); v == nil || *v != 1 || err != nil {
				t.Error(v, err)
			}
		})
	}
	close(let)
	all.Wait()
	p.Refresh(t.Context(), t.Context())
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A source that fails keeps what it said last; one that is slow keeps nobody.
func TestAsked_ASourceThatFailsGrowsOld(t *testing.T) {
	fail, slow := false, make(chan struct{})
	p := &Asked[string]{Most: time.Minute, Ask: func(context.Context) (string, error) {
		if fail {
			return "", errors.New("down")
		}
		return "known", nil
	}}
	if v, _, _ := p.Last(); v != nil {
		t.Error("something is known before anybody asked")
	}
	p.Refresh(t.Context(), t.Context())
	_, at, _ := p.Last()
	fail, p.asked = true, time.Time{}
	p.Refresh(t.Context(), t.Context())
	if v, still, err := p.Last(); v == nil || *v != "known" || err == nil || !still.Equal(at) {
		t.Error(v, at, still, err)
	}
	hung := &Asked[int]{Most: time.Minute, Ask: func(context.Context) (int, error) { <-slow; return 1, nil }}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	hung.Refresh(ctx, t.Context())
	if v, _, _ := hung.Last(); v != nil {
		t.Error("it has answered")
	}
	close(slow) // the question went on
	hung.Refresh(t.Context(), t.Context())
	if v, _, _ := hung.Last(); v == nil || *v != 1 {
		t.Error("the answer was lost")
	}
}

// After an answer that took long the source is left alone, for as many times as its
// user says.
func TestAsked_PatienceIsTheUsers(t *testing.T) {
	for patience, again := range map[int]bool{0: false, 1: true} {
		p := &Asked[int]{Most: time.Minute, Patience: patience, Ask: func(context.Context) (int, error) { return 1, nil }}
		p.cost, p.asked = time.Minute, time.Now().Add(-2*time.Minute)
		running := p.Poke(t.Context())
		if (running != nil) != again {
			t.Errorf("patience %d: asked again: %v", patience, running != nil)
		}
		p.Stop()
	}
}
