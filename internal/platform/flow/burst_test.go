package flow

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

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
