package rollup

import (
	"context"
	"time"
)

// upkeepInterval is how often the store looks for hours to roll; it keeps
// retention every retentionInterval.
const (
	upkeepInterval    = 5 * time.Second
	retentionInterval = 10 * time.Minute
	upkeepTimeout     = 10 * time.Minute // what it did until then stays done
)

// upkeep makes hours and days and keeps retention until its context ends.
// What fails is logged and tried again: what is to be done is in the database.
func (o *output) upkeep(ctx context.Context) {
	defer close(o.stopped)
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	var retained time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			retain := now.Sub(retained) >= retentionInterval
			err := o.keepUp(ctx, now, retain)
			if err == nil && retain {
				retained = now
			}
			if err != nil && ctx.Err() == nil {
				o.res.Logger().Errorf("keeping up the rollups: %v; trying again in %s", err, upkeepInterval)
			}
		}
	}
}

func (o *output) keepUp(ctx context.Context, now time.Time, retain bool) error {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	rolled, err := o.store.Roll(ctx, o.policy, now)
	o.rolled.Incr(int64(rolled))
	if err != nil || !retain {
		return err
	}
	r, err := o.store.Retain(ctx, now)
	o.expired.Incr(r.Ledgers, "ledger")
	o.expired.Incr(r.Rows, "row")
	return err
}
