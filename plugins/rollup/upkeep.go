package rollup

import (
	"context"
	"time"
)

// upkeepInterval is how often the store looks for hours to roll.
const (
	upkeepInterval = 5 * time.Second
	upkeepTimeout  = 10 * time.Minute // what it did until then stays done
)

// upkeep makes hours and days until its context ends.
// What fails is logged and tried again: what is to be done is in the database.
func (o *output) upkeep(ctx context.Context) {
	defer close(o.stopped)
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
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
	rolled, err := o.store.Roll(ctx, o.policy, now)
	o.rolled.Incr(int64(rolled))
	return err
}
