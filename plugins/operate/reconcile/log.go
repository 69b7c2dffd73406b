package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
	"weir/plugins/store/lake"
)

// look asks the log, in this order, what the responsible groups have committed
// and where the partitions start and end. What was committed was durable before
// the stores are read; what was dead-lettered lies before the end.
func (a *Reconciler) look(ctx context.Context) (map[lake.Partition]reach, error) {
	positions, committed := kafka.Positions{Admin: a.admin}, map[lake.Partition]int64{}
	for _, group := range []string{a.conf.RawGroup, a.conf.DeadLetterGroup} {
		offsets, err := positions.Committed(ctx, group) // none before it has begun: all is in flight
		if err != nil {
			return nil, err
		}
		for p, next := range offsets {
			if a.groupOf(p.Topic) == group {
				committed[lake.Partition{Topic: p.Topic, Partition: p.Number}] = next
			}
		}
	}
	ends, err := inLake(positions.Ends(ctx, a.topics()...))
	if err != nil {
		return nil, err
	}
	stable, err := inLake(positions.StableEnds(ctx, a.topics()...))
	if err != nil {
		return nil, err
	}
	starts, err := inLake(positions.Starts(ctx, a.topics()...))
	if err != nil {
		return nil, err
	}
	out := map[lake.Partition]reach{}
	for p, start := range starts {
		at := reach{first: start, start: start, end: ends[p], committed: start, stable: min(stable[p], ends[p])}
		if next, ok := committed[p]; ok {
			at.committed = next
		}
		out[p] = at
	}
	return out, nil
}

func (a *Reconciler) groupOf(topic string) string {
	if topic == a.conf.DeadLetterTopic {
		return a.conf.DeadLetterGroup
	}
	return a.conf.RawGroup
}

// inLake names partitions as the stores do. One without an offset, as an empty
// one has none at a time, is left out.
func inLake(listed map[kafka.Partition]int64, err error) (map[lake.Partition]int64, error) {
	out := map[lake.Partition]int64{}
	for p, offset := range listed {
		if offset >= 0 {
			out[lake.Partition{Topic: p.Topic, Partition: p.Number}] = offset
		}
	}
	return out, err
}

const (
	readIdle  = 5 * time.Second // without a record, the rest of a run holds none
	readApart = 2000            // runs of offsets that are closer are read as one
)

// read calls each with the events of the log at the offsets wanted: what was
// committed and is no marker. Offsets that hold none, any more or at all, are
// passed over.
func (a *Reconciler) read(ctx context.Context, wanted map[lake.Partition]lake.Offsets,
	each func(*kgo.Record) error) error {
	return a.scan(ctx, wanted, kgo.ReadCommitted(), func(r *kgo.Record) error {
		if r.Attrs.IsControl() {
			return nil
		}
		return each(r)
	})
}

// scan is read at an isolation level, with the markers of transactions.
func (a *Reconciler) scan(ctx context.Context, wanted map[lake.Partition]lake.Offsets, level kgo.IsolationLevel,
	each func(*kgo.Record) error) error {
	for p, set := range wanted {
		for i := 0; i < len(set); {
			j := i + 1
			for j < len(set) && set[j].First-set[j-1].Last < readApart {
				j++
			}
			if err := a.readRun(ctx, p, set[i:j], level, each); err != nil {
				return fmt.Errorf("reading %s of the log: %w", p, err)
			}
			i = j
		}
	}
	return nil
}

func (a *Reconciler) readRun(ctx context.Context, p lake.Partition, set lake.Offsets, level kgo.IsolationLevel,
	each func(*kgo.Record) error) error {
	last := set[len(set)-1].Last
	client, err := kgo.NewClient(append(a.options(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.Topic: {p.Partition: kgo.NewOffset().At(set[0].First)}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(level),
		kgo.FetchMaxPartitionBytes(1<<20), kgo.FetchMaxBytes(1<<20),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		polled, cancel := context.WithTimeout(ctx, readIdle)
		fetches := client.PollRecords(polled, 10_000)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, context.DeadlineExceeded) {
				return nil
			}
			return e.Err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Offset <= last && set.Has(r.Offset) {
				if err := each(r); err != nil {
					return err
				}
			}
			if r.Offset >= last {
				return nil
			}
		}
	}
}

// since is when the first records of the reach were written, less a margin for
// clocks that differ and for claims that are older than their duplicates: what
// stands for the reach in the stores was written after it.
func (a *Reconciler) since(ctx context.Context, reaches map[lake.Partition]reach) (time.Time, error) {
	oldest := time.Now()
	for p, at := range reaches {
		if at.first >= at.end {
			continue
		}
		if at.first < at.start { // gone: nobody can say when it was written
			return time.Time{}, nil
		}
		known, ok := a.began[p]
		if !ok || known.offset != at.first {
			known = began{offset: at.first}
			first := lake.NewOffsets(lake.Span{First: at.first, Last: at.first})
			err := a.read(ctx, map[lake.Partition]lake.Offsets{p: first}, func(r *kgo.Record) error {
				known.at = r.Timestamp
				return nil
			})
			if err != nil {
				return oldest, err
			}
			if known.at.IsZero() { // no record there: the stores are read from their beginning
				return time.Time{}, nil
			}
			a.began[p] = known
		}
		if known.at.Before(oldest) {
			oldest = known.at
		}
	}
	return oldest.Add(-sinceMargin), nil
}

const sinceMargin = 3 * time.Hour

type began struct {
	offset int64
	at     time.Time
}
