package etl

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// compactor compacts the sinks of a stream at intervals while the stream runs. A compaction that
// fails is told to the user and tried again at the next interval; the stream goes on.
type compactor struct {
	p *Pipeline
	c Compaction

	cancel context.CancelFunc
	going  sync.WaitGroup
	mu     sync.Mutex
	done   []Compacted // results that take has not returned yet
}

// compactor starts to compact at the pipeline's interval, if it has one; the caller must stop it.
func (p *Pipeline) compactor(ctx context.Context, o Options) *compactor {
	c := &compactor{p: p, cancel: func() {}}
	if p.compaction == nil {
		return c
	}
	c.c = p.compaction.Compaction
	c.c.Tell, c.c.Now = o.Tell, o.Now
	ctx, c.cancel = context.WithCancel(ctx)
	c.going.Go(func() {
		tick := time.NewTicker(p.compaction.every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				c.all(ctx)
			}
		}
	})
	return c
}

// stop cancels a compaction in progress, which leaves each sink as it was or compacted, and waits
// for its end.
func (c *compactor) stop() {
	c.cancel()
	c.going.Wait()
}

// all compacts each sink once.
func (c *compactor) all(ctx context.Context) {
	if c.p.compaction == nil {
		return
	}
	for _, t := range c.p.targets() {
		if !c.p.compactable(t) || ctx.Err() != nil {
			continue
		}
		one, err := c.p.compact(ctx, t, c.c)
		if one.Files+one.Vacuumed+one.Log > 0 {
			c.c.Tell("compacted " + one.String())
			c.mu.Lock()
			c.done = append(c.done, one)
			c.mu.Unlock()
		}
		if err != nil && ctx.Err() == nil {
			c.c.Tell(fmt.Sprintf("compacting %s failed, and is tried again in %s: %v", t, c.p.compaction.every, err))
		}
	}
}

// take returns what was done since the last call.
func (c *compactor) take() []Compacted {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.done
	c.done = nil
	return all
}
