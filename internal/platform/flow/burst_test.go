package flow

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Of a flood the first ten are told, and the others counted; then ten again.
func TestBurst_SaysTheFirstOfEachWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var said []string
		b := NewBursts(time.Second, 10, func(text string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, text)
		})
		for range 3 {
			for i := range 100 {
				b.Note("a", fmt.Sprint("a", i))
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		time.Sleep(3 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		// 10 and a count, twice 9 and a count: a count is one of the ten.
		if len(said) != 31 || said[9] != "a9" || said[10] != "a99 (and 89 more of this kind within 1s)" || said[11] != "a0" {
			t.Errorf("%d lines were said: %q", len(said), said)
		}
	})
}

func TestBurst_SaysTheFirstAtOnceAndThenHowManyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var said []string
		b := NewBurst(time.Second, func(text string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, text)
		})
		sofar := func() string {
			mu.Lock()
			defer mu.Unlock()
			return strings.Join(said, ";")
		}
		for i := range 100 {
			b.Note("a", fmt.Sprint("a", i))
		}
		b.Note("b", "b0")
		synctest.Wait()
		if got := sofar(); got != "a0;b0" {
			t.Fatalf("at once: %s", got)
		}
		time.Sleep(1500 * time.Millisecond)
		b.Note("a", "a100")
		time.Sleep(3 * time.Second)
		if got := sofar(); got != "a0;b0;a99 (and 98 more of this kind within 1s);a100" {
			t.Fatalf("later: %s", got)
		}
		b.Note("a", "a101")
		if got := sofar(); !strings.HasSuffix(got, ";a101") {
			t.Fatalf("after a silence: %s", got)
		}
		time.Sleep(2 * time.Second)
	})
}
