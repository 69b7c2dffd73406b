package flow

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// What can wait goes on as soon as the line is short, and at the latest after
// the time it is given: a peak that never ends must not stop processing.
func TestFlow_WorkMakesWayOnlyWhileTheLineIsLongAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Line
		pass := func(most time.Duration) time.Duration {
			start := time.Now()
			said := l.LetPass(t.Context(), most)
			if took := time.Since(start); said != took {
				t.Errorf("said that it waited %s, and waited %s", said, took)
			}
			return said
		}
		if d := pass(time.Second); d != 0 {
			t.Errorf("waited %s though nobody else does", d)
		}
		l.Add(long)
		if d := pass(300 * time.Millisecond); d != 300*time.Millisecond {
			t.Errorf("waited %s of 300ms in a line that stays long", d)
		}
		go func() {
			time.Sleep(100 * time.Millisecond)
			l.Add(-1)
		}()
		if d := pass(time.Minute); d < 100*time.Millisecond || d > 100*time.Millisecond+look {
			t.Errorf("waited %s for a line that was long for 100ms", d)
		}
		l.Add(1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if l.LetPass(ctx, time.Minute) != 0 {
			t.Error("a stop waited for the line")
		}
	})
}

func TestFlow_AProcessHasOneLine(t *testing.T) {
	res := service.MockResources()
	gate, processing := Of(res), Of(res)
	if gate != processing {
		t.Error("two lines: who processes would not see who waits")
	}
}
