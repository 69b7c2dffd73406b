package etl

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// compactor puts small files of a stream's sinks together while it goes on. What fails
// is told and tried the next time: the stream does not depend on it.
type compactor struct {
	p *Pipeline
	c Compaction

	cancel context.CancelFunc
	going  sync.WaitGroup
	mu     sync.Mutex
	done   []Compacted // that nobody has taken yet
}

// compactor begins to compact as the pipeline says; the caller stops it.
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

// stop ends what is on its way, which leaves each sink as it was or compacted.
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

// take returns what was done since it was asked last.
func (c *compactor) take() []Compacted {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.done
	c.done = nil
	return all
}
