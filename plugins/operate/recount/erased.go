package recount

import (
	"context"
	"fmt"
	"time"

	"weir/plugins/process/rule"
	"weir/plugins/store/lake"
)

// Erased is what the objects of a raw store say of records that were erased, and of how far
// it has come in the log. They are read when they are asked for. What was read is kept for
// later runs, which are asked of much the same time: objects do not change, and what they say
// was erased stays so when they are gone. It is not for concurrent use.
type Erased struct {
	store *lake.Store
	since time.Time // objects written since then were read in this run; zero: none
	read  map[string]time.Time
	of    map[lake.Partition]lake.Offsets
	upTo  map[lake.Partition]int64
}

// NewErased returns an Erased that has read nothing.
func NewErased(store *lake.Store) *Erased { return &Erased{store: store} }

// Begin begins another run: objects that were written meanwhile are read.
func (e *Erased) Begin() { e.since = time.Time{} }

// Read is how many objects have been read.
func (e *Erased) Read() int { return len(e.read) }

// erasedMost bounds the objects that are kept in mind: some 100 bytes each.
const erasedMost = 100_000

// aheadOfTime is how long before the time that an event counts at it may have been stored.
const aheadOfTime = time.Hour

// Among counts the erased records that the missing ones can be of. What objects call erased
// has no fleet, and retention, too, leaves it in objects of which it takes a part: where the
// fleet has no tombstone, it is none of the fleet's.
func (e *Erased) Among(ctx context.Context, m rule.Missing) (int64, error) {
	since := m.Since.Add(-aheadOfTime)
	if buried, err := e.store.Buried(ctx, m.Fleet, since); err != nil || !buried {
		return 0, err
	}
	if err := e.upFrom(ctx, since); err != nil {
		return 0, err
	}
	return e.of[lake.Partition{Topic: m.Topic, Partition: m.Partition}].And(lake.NewOffsets(lake.Span{First: m.First,
		Last: m.Last})).Count(), nil
}

// UpTo is the offset behind the last record of a partition of which an object says anything
// that was written since a time; 0 when none does.
func (e *Erased) UpTo(ctx context.Context, since time.Time, topic string, partition int32) (int64, error) {
	err := e.upFrom(ctx, since.Add(-aheadOfTime))
	return e.upTo[lake.Partition{Topic: topic, Partition: partition}], err
}

// upFrom reads what objects say that were written since a time.
func (e *Erased) upFrom(ctx context.Context, since time.Time) error {
	if !e.since.IsZero() && !since.Before(e.since) {
		return nil
	}
	if err := e.more(ctx, since); err != nil {
		*e = Erased{store: e.store}
		return fmt.Errorf("reading what was erased: %w", err)
	}
	return nil
}

// more reads what objects say that were written since a time and have not been read.
func (e *Erased) more(ctx context.Context, since time.Time) error {
	if e.read == nil || len(e.read) > erasedMost {
		e.read, e.of, e.upTo = map[string]time.Time{}, map[lake.Partition]lake.Offsets{}, map[lake.Partition]int64{}
	}
	e.since = since
	changed := map[lake.Partition]bool{}
	err := e.store.MoreCoverage(ctx, since, e.read, func(f lake.Footer) error {
		for p, spans := range f.Coverage.Erased {
			e.of[p], changed[p] = append(e.of[p], spans...), true
			e.come(p, spans)
		}
		for p, spans := range f.Coverage.Stored {
			e.come(p, spans)
		}
		for p, repeats := range f.Coverage.Duplicates {
			for _, d := range repeats {
				e.upTo[p] = max(e.upTo[p], d.Offset+1)
			}
		}
		return ctx.Err()
	})
	for p := range changed {
		e.of[p] = lake.NewOffsets(e.of[p]...)
	}
	return err
}

func (e *Erased) come(p lake.Partition, spans []lake.Span) {
	for _, s := range spans {
		e.upTo[p] = max(e.upTo[p], s.Last+1)
	}
}
