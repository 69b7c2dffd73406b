package recount

import (
	"context"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"

	"weir/internal/lifecycle/tombstone"
	"weir/internal/platform/sqldb"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
	"weir/plugins/store/rollup"
)

// chunk is the number of events that are merged in one transaction.
const chunk = 20_000

// Later counts again the events of an erasure's target that were received after it, because an
// erasure deletes whole windows, which may count events from before and after. It may stop anywhere
// and run again: the rollups recognize the ids of events that they count. events is the number of
// events that were not counted yet.
func Later(ctx context.Context, stored *lake.Store, rollups *sqldb.DB, upcast *bloblang.Executor,
	t tombstone.Target) (events int64, err error) {
	limits := rollup.DefaultLimits()
	limits.Keep = 0       // how long windows are kept is configured elsewhere: retention deletes older ones
	limits.WriteEvery = 0 // write at once: this store is not kept open to write later
	store, err := rollup.Open(ctx, rollups, limits)
	if err != nil {
		return 0, err
	}
	next, n := NewWindows(nil), 0
	merge := func() error {
		more, err := next.Merge(ctx, store)
		events += more
		next, n = NewWindows(nil), 0
		return err
	}
	q := raw.Query{Fleet: t.Fleet, Since: time.UnixMicro(t.Until).Add(-time.Minute)}
	if t.Device != "" {
		q.Devices = []string{t.Device}
	}
	_, err = raw.NewReader(stored).Scan(ctx, q, func(r *raw.Row) error {
		if r.ReceivedAt <= t.Until {
			return nil
		}
		e := Event{r}
		canonical, err := e.Canonical(upcast)
		if err == nil {
			err = next.Add(e, canonical)
		}
		if n++; err != nil || n < chunk {
			return err
		}
		return merge()
	})
	if err == nil && n > 0 {
		err = merge()
	}
	return events, err
}
