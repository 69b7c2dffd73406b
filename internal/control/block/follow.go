package block

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/live"
	"weir/internal/platform/meter"
	"weir/internal/platform/sqldb"
)

// Fleet holds the blocked subjects of a fleet. It is immutable; a nil Fleet blocks nobody.
type Fleet struct{ devices, users map[string]int64 } // until when, in microseconds since 1970

func (f *Fleet) of(kind Kind) map[string]int64 {
	if kind == User {
		return f.users
	}
	return f.devices
}

// Any tells whether any subject of a kind may be blocked.
func (f *Fleet) Any(kind Kind) bool { return f != nil && len(f.of(kind)) > 0 }

// Until tells whether a subject is blocked at now, and until when.
func (f *Fleet) Until(kind Kind, subject string, now time.Time) (until time.Time, blocked bool) {
	if !f.Any(kind) {
		return until, false
	}
	at, is := f.of(kind)[subject]
	return time.UnixMicro(at).UTC(), is && at > now.UnixMicro()
}

// Follower keeps the blocks of all fleets in memory and rereads them periodically when they changed. While the store
// is unreachable, the blocks read last stay in force until they end, and no new ones appear. Its readers may run
// concurrently.
type Follower struct {
	store   *sqldb.Lazy[*Store]
	fleets  atomic.Pointer[map[string]*Fleet]
	asked   chan struct{} // closed after the first attempt to read the store
	age     *service.MetricGauge
	log     *service.Logger
	now     func() time.Time
	version int64
	fresh   time.Time // when the blocks were last known to be current, or else when the follower started
	stop    context.CancelFunc
	done    chan struct{}
}

// askMost is the timeout of one query of the store.
const askMost = 5 * time.Second

// Follow reads the blocks from the store at url every interval until Close. It returns before the first read.
func Follow(res *service.Resources, url string, every time.Duration) *Follower {
	f := &Follower{store: sqldb.NewLazy(res, url, Open), asked: make(chan struct{}), log: res.Logger(), now: time.Now,
		age: meter.Gauge(res.Metrics(), "weir_block_age_seconds"), version: -1, done: make(chan struct{})}
	f.fleets.Store(&map[string]*Fleet{})
	f.fresh = f.now()
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	go func() {
		defer close(f.done)
		first, cancel := context.WithTimeout(ctx, askMost)
		err := f.Refresh(first)
		cancel()
		if err != nil && ctx.Err() == nil {
			f.tell(err)
		}
		close(f.asked)
		live.Follow(ctx, every, askMost, err != nil, f.Refresh, f.tell)
	}()
	return f
}

// Ready waits, at most some seconds, for the first attempt to read the store, so that a starting process does not
// admit subjects that are blocked. It returns nil even if that attempt failed, and an error only when the context
// ends.
func (f *Follower) Ready(ctx context.Context) error {
	select {
	case <-f.asked:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Of returns the blocks of a fleet; nil when nobody is blocked.
func (f *Follower) Of(fleet string) *Fleet {
	if all := *f.fleets.Load(); len(all) > 0 {
		return all[fleet]
	}
	return nil
}

// None tells whether nobody is blocked in any fleet.
func (f *Follower) None() bool { return len(*f.fleets.Load()) == 0 }

// Refresh rereads the blocks if they changed: changes committed before the call are visible after it returns nil.
// Calls must not overlap.
func (f *Follower) Refresh(ctx context.Context) error {
	now := f.now()
	err := f.read(ctx)
	if err == nil {
		f.fresh = now
	}
	f.age.Set(int64(f.now().Sub(f.fresh) / time.Second))
	return err
}

func (f *Follower) read(ctx context.Context) error {
	store, err := f.store.Get(ctx)
	if err != nil {
		return err
	}
	return f.take(ctx, store)
}

// take reads the blocks if they changed.
func (f *Follower) take(ctx context.Context, store *Store) error {
	n, err := store.changes(ctx)
	if err != nil || n == f.version {
		return err
	}
	fleets, err := store.blocked(ctx)
	if err != nil {
		return err
	}
	f.fleets.Store(&fleets)
	f.version = n
	return nil
}

func (f *Follower) tell(err error) {
	if err != nil {
		f.log.Warnf("who is blocked stays as it was known: %v", err)
		return
	}
	f.log.Info("who is blocked can be read again")
}

// Close stops the reading and releases the store.
func (f *Follower) Close() {
	f.stop()
	<-f.done
	f.store.Close()
}
