package flow

import (
	"context"
	"testing"
	"time"
)

func TestAside_GoesOnSlowlyWhileRequestsWait(t *testing.T) {
	line := &Line{}
	a := AsideOf(WithAside(t.Context(), line))
	took := func(rows int) time.Duration {
		start := time.Now()
		a.Step(rows)
		return time.Since(start)
	}
	if d := took(100 * asideRows); d > 20*time.Second {
		t.Errorf("with nobody waiting, it took %v", d)
	}
	line.Add(long)
	if d := took(asideRows / 5); d < 200*time.Millisecond {
		t.Errorf("a fifth of a second's rows took %v while requests wait", d)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		line.Add(-1)
	}()
	if d := took(1000 * asideRows); d > 100*time.Second {
		t.Errorf("it waited %v, until long after the requests had passed", d)
	}
}

func TestAside_GoesOnFasterWhenItHasWaitedForLong(t *testing.T) {
	line := &Line{}
	line.Add(long)
	ctx := WithAside(t.Context(), line)
	AsideOf(ctx).waited.Store(int64(asideMost))
	start := time.Now()
	AsideOf(ctx).Step(asideFaster) // of another part of the same work
	if d := time.Since(start); d < time.Second || d > 4*time.Second {
		t.Errorf("a second's rows took %v", d)
	}
}

func TestAside_EndsWithItsContext(t *testing.T) {
	line := &Line{}
	line.Add(long)
	ctx, stop := context.WithCancel(WithAside(t.Context(), line))
	a := AsideOf(ctx)
	stop()
	start := time.Now()
	if a.Step(1000 * asideRows); time.Since(start) > 100*time.Second {
		t.Errorf("it waited %v after the end of its context", time.Since(start))
	}
}

func TestAside_IsNothingWithoutALine(t *testing.T) {
	if a := AsideOf(t.Context()); a != nil {
		t.Errorf("it is %v", a)
	}
	AsideOf(t.Context()).Step(1 << 40)
}
