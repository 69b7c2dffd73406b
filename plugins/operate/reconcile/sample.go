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

// Sampling says how many results of rules are computed again from the raw store, and which ones.
type Sampling struct {
	Most   int
	Seed   uint64             // 0: a random one in each run
	Upcast *bloblang.Executor // the mapping of the rules stream
	Mapped bool               // whether the mapping is known, or there is none
	Delay  time.Duration      // the delay of the rules stream; 0 is its default
}

// addSample computes results of rules again. A result that differs from what its events yield is a problem.
func (r *Report) addSample(ctx context.Context, conf Config, erased *erasedRecords) error {
	if conf.Control == nil || conf.Raw == nil || conf.Sampling.Most <= 0 {
		return nil
	}
	erased.since = time.Time{}
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
		}, Mine: conf.mine, Erased: erased.among})
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

// erasedRecords are the records that objects of the raw store name as erased. They are read only when they are needed,
// because few samples need them, and kept for later runs, which mostly need the same period: objects do not change,
// and what they name as erased stays erased after they are deleted.
type erasedRecords struct {
	store *lake.Store
	since time.Time // in this run, objects written since then have been read; zero: none
	read  map[string]time.Time
	of    map[lake.Partition]lake.Offsets
}

// erasedMost bounds the objects that are kept in memory, some 100 bytes each.
const erasedMost = 100_000

// aheadOfTime is how long before its own time an event may have been stored.
const aheadOfTime = time.Hour

// among returns how many erased records the missing events may be. Objects do not name the fleet of an erased record,
// and retention marks records in the same way when it deletes part of an object. So if the fleet has no tombstone,
// none of them counts.
func (e *erasedRecords) among(ctx context.Context, m rule.Missing) (int64, error) {
	since := m.Since.Add(-aheadOfTime)
	if buried, err := e.store.Buried(ctx, m.Fleet, since); err != nil || !buried {
		return 0, err
	}
	if e.since.IsZero() || since.Before(e.since) {
		if err := e.more(ctx, since); err != nil {
			*e = erasedRecords{store: e.store}
			return 0, fmt.Errorf("reading what was erased: %w", err)
		}
	}
	return e.of[lake.Partition{Topic: m.Topic, Partition: m.Partition}].And(lake.NewOffsets(lake.Span{First: m.First,
		Last: m.Last})).Count(), nil
}

// more reads the objects written since a time that have not been read.
func (e *erasedRecords) more(ctx context.Context, since time.Time) error {
	if e.read == nil || len(e.read) > erasedMost {
		e.read, e.of = map[string]time.Time{}, map[lake.Partition]lake.Offsets{}
	}
	e.since = since
	changed := map[lake.Partition]bool{}
	err := e.store.MoreCoverage(ctx, since, e.read, func(f lake.Footer) error {
		for p, spans := range f.Coverage.Erased {
			e.of[p], changed[p] = append(e.of[p], spans...), true
		}
		return ctx.Err()
	})
	for p := range changed {
		e.of[p] = lake.NewOffsets(e.of[p]...)
	}
	return err
}
