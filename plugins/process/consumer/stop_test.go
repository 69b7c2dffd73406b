package consumer

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A process is told to end while partitions move to one that joins: whichever step
// of the rebalance that is, what it has acknowledged is committed, and each record
// is acknowledged once, by the one or by the other.
func TestLogInput_AStopInARebalanceLosesNothing(t *testing.T) {
	for step, key := range map[string]kmsg.Key{"joins": kmsg.JoinGroup, "is given partitions": kmsg.SyncGroup,
		"reads what it was given": kmsg.OffsetFetch} {
		t.Run("the other "+step, func(t *testing.T) {
			const partitions, each = 4, 20
			b := newBench(t, partitions)
			all := []int32{0, 1, 2, 3}
			b.write(each/2, all...)
			one := b.join("batch: 3\nsession_timeout: 6s")
			var mu sync.Mutex
			times := map[[2]int64]int{}
			work := func(ctx context.Context, in *input) {
				for ctx.Err() == nil {
					got, ok := b.read(in, 20*time.Millisecond)
					if !ok {
						continue
					}
					mu.Lock()
					for n := got.from; n < got.to; n++ {
						times[[2]int64{int64(got.partition), n}]++
					}
					mu.Unlock()
					b.ack(got)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var worked sync.WaitGroup
			worked.Go(func() { work(ctx, one) })
			b.eventually(map[int32]int64{0: each / 2, 1: each / 2, 2: each / 2, 3: each / 2})

			moved := make(chan struct{}, 1)
			b.log.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
				select {
				case moved <- struct{}{}:
				default: // it was not the first
				}
				return nil, nil, false // the log answers it as ever
			})
			b.write(each/2, all...)
			two := b.join("batch: 3\nsession_timeout: 6s")
			rest, end := context.WithCancel(t.Context())
			defer end()
			var other sync.WaitGroup
			other.Go(func() { work(rest, two) })
			<-moved
			stop() // as the engine stops: nothing more is read, what is under way is acknowledged, the input is closed
			worked.Wait()
			b.close(one)
			b.eventually(map[int32]int64{0: each, 1: each, 2: each, 3: each})
			end()
			other.Wait()
			for p := range int64(partitions) {
				for n := range int64(each) {
					if got := times[[2]int64{p, n}]; got != 1 {
						t.Errorf("%d/%d was acknowledged %d times", p, n, got)
					}
				}
			}
		})
	}
}
