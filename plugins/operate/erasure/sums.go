package erasure

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"

	"weir/internal/platform/sqldb"
	"weir/plugins/operate/recount"
	"weir/plugins/process/rule"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// Sums of all devices that rules told are made anew from the events that are left. Which
// ones is noted before any event is deleted. The first round is part of the erasure; what
// it has no time for, and what waits until windows are closed, goes on when the erasure is
// done, a round at a time, and other erasures come first.
const (
	sumsRound = 30 * time.Second
	sumsAgain = time.Minute // when all that is left waits
)

// sums has them made anew. Nil does nothing.
type sums struct {
	control *sqldb.DB
	stores  []eventStore
}

// eventStore is a store of events as rules saw them.
type eventStore struct {
	*lake.Store
	events *recount.ForRules
	erased *recount.Erased
}

// with adds a store of events. What the rules stream did with events is in the control
// store; before it was written down there, it is taken to be upcast, and not relied on.
func (s *sums) with(store *lake.Store, upcast *bloblang.Executor) {
	s.stores = append(s.stores, eventStore{store, &recount.ForRules{Reader: raw.NewReader(store), Upcast: upcast},
		recount.NewErased(store)})
}

// touch notes which sums have counted what is about to be erased.
func (s *sums) touch(ctx context.Context, e *Erasure) error {
	if s == nil || e.WholeFleet {
		return nil
	}
	var devices []string
	for _, t := range e.devices() {
		devices = append(devices, t.Device)
	}
	if len(devices) == 0 {
		return nil
	}
	return rule.Touch(ctx, s.control, e.ID, e.Fleet, *e.Until, func(m *rule.Minutes) error {
		for _, store := range s.stores {
			_, err := store.events.Reader.Scan(ctx, raw.Query{Fleet: e.Fleet, Devices: devices}, func(row *raw.Row) error {
				if row.Delivery.Partition < 0 || row.ReceivedAt > e.Until.UnixMicro() {
					return nil
				}
				m.Add(row.Delivery, row.At)
				if row.At > row.ReceivedAt && row.ReceivedAt > 0 { // a clock that is ahead: rules may take the other
					m.Add(row.Delivery, row.ReceivedAt)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// of is by what sums of a partition are made: the events of the store that has them. Where
// none says anything of it, they are older than all that is stored.
func (s *sums) of(ctx context.Context, topic string, partition int32, since time.Time) (rule.Sample, error) {
	from, upTo := s.stores[0], int64(math.MaxInt64)
	for _, store := range s.stores {
		n, err := store.erased.UpTo(ctx, since, topic, partition)
		if err != nil {
			return rule.Sample{}, err
		}
		if n > 0 {
			from, upTo = store, n
			break
		}
	}
	return rule.Sample{Events: from.events, Erased: from.erased.Among,
		Stored: func(string, int32) int64 { return upTo }}, nil
}

// anew goes on with the erasure's sums for a round.
func (r *runner) anew(ctx context.Context, e *Erasure) error {
	if r.sums == nil || e.WholeFleet {
		return nil
	}
	for _, store := range r.sums.stores {
		store.erased.Begin()
	}
	made, err := rule.Anew{Job: e.ID, Fleet: e.Fleet, Of: r.sums.of, By: time.Now().Add(sumsRound),
		Held: func() error { return r.free(ctx, e.Fleet) }}.Make(ctx, r.sums.control)
	if err != nil {
		return err
	}
	if e.Sums = nil; made.Parts > 0 {
		e.Sums = &made
	}
	return nil
}

// goOn goes on with sums of an erasure that is done. A hold stops it, as one that runs.
func (r *runner) goOn(ctx context.Context, e *Erasure) (next time.Time, err error) {
	if e.Sums == nil || e.Sums.Over() { // which is saved: what it is counted by may go
		e.phase = ended
		return next, rule.ForgetSums(ctx, r.sums.control, e.ID)
	}
	if err = r.free(ctx, e.Fleet); err == nil {
		err = r.anew(ctx, e)
	}
	var hold held
	switch {
	case errors.As(err, &hold):
		return r.now().Add(holdAgain), nil
	case err != nil:
		return next, err
	case e.Sums != nil && e.Sums.Idle() && !e.Sums.Over():
		return r.now().Add(sumsAgain), nil
	}
	return r.now(), nil
}
