package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"

	"weir/internal/event"
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
		Delay: conf.Sampling.Delay, Events: ruleEvents{raw.NewReader(conf.Raw), conf.Sampling},
		Stored: func(topic string, partition int32) int64 {
			return stored[lake.Partition{Topic: topic, Partition: partition}]
		}})
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

// ruleEvents are those of the raw store, as rules see them.
type ruleEvents struct {
	reader *raw.Reader
	by     Sampling
}

// errFound ends a scan that has found what it looks for.
var errFound = errors.New("found")

func (e ruleEvents) Of(ctx context.Context, fleet, device string, from, to int64, each func(rule.Stored) error) error {
	_, err := e.reader.Scan(ctx, raw.Query{From: time.UnixMicro(from), To: time.UnixMicro(to + 1), Fleet: fleet,
		Devices: []string{device}, Parallel: 1}, func(row *raw.Row) error {
		stored := recount.Event{Row: row}
		if !stored.Logged() {
			return nil
		}
		msg, err := stored.Canonical(e.by.Upcast)
		if err != nil {
			return nil // as in the rules stream: it is invalid
		}
		var json []byte
		if msg != nil {
			json, err = msg.AsBytes()
		} else {
			json, err = row.AppendJSON(nil)
		}
		if err != nil {
			return err
		}
		s := rule.Stored{First: row.Delivery, Again: row.Delivery != row.Record, Flags: row.Flags, JSON: json}
		if row.ReceivedAt != 0 {
			s.Received = time.UnixMicro(row.ReceivedAt)
		}
		return each(s)
	})
	return err
}

// passedWithin is for how long after a time, and passedMost among how many events, one
// is looked for that shows that time had passed.
const (
	passedWithin = time.Hour
	passedMost   = 100_000
)

func (e ruleEvents) Passed(ctx context.Context, before event.Coordinates, at int64) (bool, error) {
	n := 0
	from := time.UnixMicro(at)
	_, err := e.reader.Scan(ctx, raw.Query{From: from, To: from.Add(passedWithin), Parallel: 1}, func(row *raw.Row) error {
		r := row.Record
		if n++; r.Topic == before.Topic && r.Partition == before.Partition && r.Offset < before.Offset {
			return errFound
		} else if n == passedMost {
			return errNotFound
		}
		return nil
	})
	switch {
	case errors.Is(err, errFound):
		return true, nil
	case errors.Is(err, errNotFound):
		return false, nil
	}
	return false, err
}

var errNotFound = errors.New("not found")

func (e ruleEvents) Days(ctx context.Context, from, to int64) (bool, error) {
	const day = 24 * time.Hour
	for at := time.UnixMicro(from).UTC().Truncate(day); at.UnixMicro() <= to; at = at.Add(day) {
		size, err := e.reader.EstimateAll(ctx, at, at.Add(day))
		if err != nil || size.Events == 0 {
			return false, err
		}
	}
	return true, nil
}

func (e ruleEvents) Mapped() bool { return e.by.Mapped }
