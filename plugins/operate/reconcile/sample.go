package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"

	"weir/plugins/operate/recount"
	"weir/plugins/process/rule"
	"weir/plugins/store/lake"
	"weir/plugins/store/raw"
)

// Sampling says how many results of rules are computed again from the raw store, and
// which.
type Sampling struct {
	Most   int
	Seed   uint64             // 0: another one each time
	Upcast *bloblang.Executor // what the rules stream maps events with
	Mapped bool               // it is known, or there is none
	Delay  time.Duration      // of the rules stream; 0 is its default
}

// addSample computes results of rules again. One that is not what its events come to
// is a problem.
func (r *Report) addSample(ctx context.Context, conf Config) error {
	if conf.Control == nil || conf.Raw == nil || conf.Sampling.Most <= 0 {
		return nil
	}
	stored := map[lake.Partition]int64{}
	for _, p := range r.Partitions {
		stored[lake.Partition{Topic: p.Topic, Partition: p.Partition}] = p.Committed
	}
	seed := conf.Sampling.Seed
	if seed == 0 {
		seed = uint64(r.At.UnixMicro())
	}
	sample, err := rule.Recompute(ctx, conf.Control, rule.Sample{Seed: seed, Most: conf.Sampling.Most,
		Delay: conf.Sampling.Delay, Events: &recount.ForRules{Reader: raw.NewReader(conf.Raw), Upcast: conf.Sampling.Upcast,
			Known: conf.Sampling.Mapped},
		Stored: func(topic string, partition int32) int64 {
			return stored[lake.Partition{Topic: topic, Partition: partition}]
		}, Mine: conf.mine, Erased: (&erasedRecords{store: conf.Raw}).among})
	if err != nil {
		return err
	}
	if r.Sample = &sample; sample.Sampled == 0 {
		r.Sample = nil
	}
	for _, d := range sample.Differing {
		r.Problems = append(r.Problems, d.String())
	}
	return nil
}

// erasedRecords are those that the raw store's objects say were erased. They are read
// when they are asked for: few samples need them.
type erasedRecords struct {
	store *lake.Store
	since time.Time // objects written since then were read; zero: none
	of    map[lake.Partition]lake.Offsets
}

// aheadOfTime is how long before the time that an event counts at it may have been stored.
const aheadOfTime = time.Hour

// among counts the erased records that the missing ones can be of. What objects call
// erased has no fleet, and retention, too, leaves it in objects of which it takes a part:
// where the fleet has no tombstone, it is none of the fleet's.
func (e *erasedRecords) among(ctx context.Context, m rule.Missing) (int64, error) {
	since := m.Since.Add(-aheadOfTime)
	if buried, err := e.store.Buried(ctx, m.Fleet, since); err != nil || !buried {
		return 0, err
	}
	if e.since.IsZero() || since.Before(e.since) {
		of := map[lake.Partition]lake.Offsets{}
		err := e.store.Coverage(ctx, since, func(f lake.Footer) error {
			for p, spans := range f.Coverage.Erased {
				of[p] = append(of[p], spans...)
			}
			return ctx.Err()
		})
		if err != nil {
			return 0, fmt.Errorf("reading what was erased: %w", err)
		}
		for p, spans := range of {
			of[p] = lake.NewOffsets(spans...)
		}
		e.since, e.of = since, of
	}
	return e.of[lake.Partition{Topic: m.Topic, Partition: m.Partition}].And(lake.NewOffsets(lake.Span{First: m.First,
		Last: m.Last})).Count(), nil
}
