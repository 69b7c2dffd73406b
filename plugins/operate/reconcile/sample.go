package reconcile

import (
	"context"
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
func (r *Report) addSample(ctx context.Context, conf Config, erased *recount.Erased) error {
	if conf.Control == nil || conf.Raw == nil || conf.Sampling.Most <= 0 {
		return nil
	}
	erased.Begin()
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
		}, Mine: conf.mine, Erased: erased.Among})
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
