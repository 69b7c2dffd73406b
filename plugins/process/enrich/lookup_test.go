package enrich

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

// asked is a source that counts, and answers as told.
type asked struct {
	times  atomic.Int64
	now    atomic.Int64 // questions under way
	most   atomic.Int64
	answer func(ctx context.Context, key string) (answer, error)
}

func (a *asked) ask(ctx context.Context, key string) (answer, error) {
	a.times.Add(1)
	n := a.now.Add(1)
	defer a.now.Add(-1)
	for most := a.most.Load(); n > most && !a.most.CompareAndSwap(most, n); most = a.most.Load() {
	}
	return a.answer(ctx, key)
}

func lookupOf(t *testing.T, a *asked, change func(*limits)) *lookup {
	t.Helper()
	l := limits{timeout: time.Second, inFlight: 4, entries: 100, keep: time.Minute, keepAbsent: 10 * time.Second,
		failures: 3, now: time.Now, failed: func(error) {}, opened: func(bool) {}, background: t.Context(),
		backgrounds: &sync.WaitGroup{}}
	if change != nil {
		change(&l)
	}
	return newLookup(a.ask, l)
}

// want asks as an event does, within a deadline.
func want(t *testing.T, l *lookup, key string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	is, _, f, err := l.start(ctx, key)
	if f != nil {
		is, err = f.wait(ctx)
	}
	if is.absent {
		return "none", err
	}
	return string(is.raw), err
}

func echo(_ context.Context, key string) (answer, error) {
	if key == "nobody" {
		return answer{absent: true}, nil
	}
	return answer{raw: []byte(`"` + key + `"`)}, nil
}

func TestLookup_AnswersAreKeptAndSoIsThatThereIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{answer: echo}
		l := lookupOf(t, a, nil)
		for _, step := range []struct {
			after time.Duration
			key   string
			times int64
		}{{0, "x", 1}, {0, "x", 1}, {0, "nobody", 2}, {9 * time.Second, "nobody", 2}, {time.Second, "nobody", 3},
			{49 * time.Second, "x", 3}, {time.Second, "x", 4}} {
			time.Sleep(step.after)
			got, err := want(t, l, step.key)
			if expected := map[bool]string{true: "none", false: `"x"`}[step.key == "nobody"]; got != expected || err != nil {
				t.Errorf("%+v: %s, %v", step, got, err)
			}
			if n := a.times.Load(); n != step.times {
				t.Errorf("%+v: asked %d times", step, n)
			}
		}
	})
}

func TestLookup_FailuresAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		a := &asked{answer: func(ctx context.Context, key string) (answer, error) {
			if down.Load() {
				return answer{}, errors.New("down")
			}
			return echo(ctx, key)
		}}
		l := lookupOf(t, a, nil)
		down.Store(true)
		if _, err := want(t, l, "x"); err == nil {
			t.Fatal("no error")
		}
		down.Store(false)
		if got, err := want(t, l, "x"); got != `"x"` || err != nil {
			t.Fatal(got, err)
		}
	})
}

// A hundred who want one key ask once; a hundred keys are asked for a few at a time.
func TestLookup_StampedesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{answer: func(ctx context.Context, key string) (answer, error) {
			time.Sleep(time.Millisecond)
			return echo(ctx, key)
		}}
		l := lookupOf(t, a, nil)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if got, err := want(t, l, "x"); got != `"x"` || err != nil {
					t.Error(got, err)
				}
			})
		}
		all.Wait()
		if n := a.times.Load(); n != 1 {
			t.Errorf("asked %d times for one key", n)
		}
		for i := range 100 {
			all.Go(func() {
				if got, err := want(t, l, fmt.Sprint(i)); got != fmt.Sprintf("%q", fmt.Sprint(i)) || err != nil {
					t.Error(got, err)
				}
			})
		}
		all.Wait()
		if n, most := a.times.Load(), a.most.Load(); n != 101 || most != 4 {
			t.Errorf("asked %d times, %d at once", n, most)
		}
	})
}

// A source that hangs holds nobody beyond the deadline, has a few questions at a
// time, and is left alone when they have failed; what came late is there later.
func TestLookup_ASourceThatHangsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		a := &asked{answer: func(ctx context.Context, key string) (answer, error) {
			if hangs.Load() {
				<-ctx.Done()
				return answer{}, ctx.Err()
			}
			time.Sleep(200 * time.Millisecond)
			return echo(ctx, key)
		}}
		opened := map[bool]int{}
		l := lookupOf(t, a, func(l *limits) { l.opened = func(is bool) { opened[is]++ } })
		if _, err := want(t, l, "late"); !errors.Is(err, errLate) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got, err := want(t, l, "late"); got != `"late"` || err != nil || a.times.Load() != 1 {
			t.Fatal("what came late is lost:", got, err)
		}
		hangs.Store(true)
		began := time.Now()
		for i := range 8 {
			if _, err := want(t, l, fmt.Sprint(i)); !errors.Is(err, errLate) {
				t.Fatal(i, err)
			}
		}
		if took := time.Since(began); took > time.Second || a.times.Load() != 5 {
			t.Errorf("eight waited %s, and asked %d times", took, a.times.Load())
		}
		time.Sleep(1050 * time.Millisecond) // the four have failed
		if _, err := want(t, l, "y"); !errors.Is(err, errOpen) && !errors.Is(err, errLate) || opened[true] != 1 {
			t.Error(err, opened)
		}
		hangs.Store(false)
		time.Sleep(10 * time.Second)
		_, _ = want(t, l, "z")
		time.Sleep(time.Second)
		if got, err := want(t, l, "z"); got != `"z"` || err != nil || opened[false] != 1 {
			t.Error(got, err, opened)
		}
	})
}

func TestLookup_TheOldestAnswersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{answer: echo}
		l := lookupOf(t, a, func(l *limits) { l.entries = 2 })
		for _, key := range []string{"a", "b", "a", "c", "a", "b"} {
			if _, err := want(t, l, key); err != nil {
				t.Fatal(err)
			}
		}
		if n := a.times.Load(); n != 4 || len(l.known) != 2 || l.order.Len() != 2 {
			t.Errorf("asked %d times, %d are kept", n, len(l.known))
		}
	})
}
