package rollup

import (
	"context"
	"errors"
	"time"
)

// Intervals of the upkeep.
const (
	upkeepInterval = 5 * time.Second
	upkeepTimeout  = 10 * time.Minute // for one run; what is done by then stays done

	writeInterval = time.Second // how often it looks for rows that are due
)

// upkeep writes rows that are due, and computes hours and days, until ctx ends. Errors are logged,
// and what failed is tried again: the database has everything that remains to be done.
func (o *output) upkeep(ctx context.Context) {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	write := time.NewTicker(writeInterval)
	defer write.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-write.C:
			if err := o.writeDue(ctx); err != nil && ctx.Err() == nil {
				o.res.Logger().Errorf("writing rollups: %v; they are in the journal; trying again in %s", err, writeInterval)
			}
		case now := <-tick.C:
			if err := o.keepUp(ctx, now); err != nil && ctx.Err() == nil {
				o.res.Logger().Errorf("keeping up the rollups: %v; trying again in %s", err, upkeepInterval)
			}
		}
	}
}

func (o *output) keepUp(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	adopted := o.store.adopt(ctx)
	rolled, err := o.store.roll(ctx, o.policy, now)
	o.rolled.Incr(int64(rolled))
	return errors.Join(adopted, err)
}

func (o *output) writeDue(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	err := o.store.writeDue(ctx)
	o.count(o.store)
	return err
}

const (
	moveRest  = 24 * time.Hour   // late events of an old day are moved to its objects once a day
	moveMost  = 2 * time.Minute  // how long it holds the tier at a time
	moveAgain = 10 * time.Second // the pause when there is more to move, in which others can take the tier
)

// moveOld moves old minutes to the store of objects, until ctx ends.
func (o *output) moveOld(ctx context.Context) {
	if o.mover.url == "" {
		return
	}
	m := o.mover
	m.rest, m.most = moveRest, moveMost
	next := time.NewTimer(min(moveAgain, m.every))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		work, cancel := context.WithTimeout(ctx, upkeepTimeout)
		n, more, err := o.store.move(work, &m, time.Now())
		if err == nil && !more {
			err = o.store.shrink(work, &m, time.Now())
		}
		cancel()
		o.moved.Incr(n)
		wait := m.every
		if more {
			wait = min(moveAgain, m.every)
		}
		if err != nil && ctx.Err() == nil {
			o.res.Logger().Errorf("moving old rollups to %s: %v; they stay in the database; trying again in %s",
				rollupFieldOldURL, err, wait)
		}
		next.Reset(wait)
	}
}
