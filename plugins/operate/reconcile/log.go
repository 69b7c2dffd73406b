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

// look reads from the log, in this order, the committed offsets of the responsible groups and the starts and ends of
// partitions. What was committed was durable before the stores are read, and dead letters of it are before the ends.
func (a *Reconciler) look(ctx context.Context) (map[lake.Partition]reach, error) {
	positions, committed := kafka.Positions{Admin: a.admin}, map[lake.Partition]int64{}
	for _, group := range []string{a.conf.RawGroup, a.conf.DeadLetterGroup} {
		offsets, err := positions.Committed(ctx, group) // a group that has not begun has none: all records are in flight
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

// inLake converts partitions to those of the stores. Partitions without an offset are left out, as an empty one may
// be.
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
	readIdle  = 5 * time.Second // after so long without a record, the rest of the run has none
	readApart = 2000            // ranges of offsets that are closer are read together
)

// read calls each with the records at the wanted offsets of the log that are committed and not markers. Offsets
// without such a record are skipped.
func (a *Reconciler) read(ctx context.Context, wanted map[lake.Partition]lake.Offsets,
	each func(*kgo.Record) error) error {
	return a.scan(ctx, wanted, kgo.ReadCommitted(), func(r *kgo.Record) error {
		if r.Attrs.IsControl() {
			return nil
		}
		return each(r)
	})
}

// scan is read with an isolation level, and includes the markers of transactions.
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

// since returns when the first records of the reach were written, less a margin for differing clocks and for claims
// that are older than their duplicates: all rows for the reach were written after it.
func (a *Reconciler) since(ctx context.Context, reaches map[lake.Partition]reach) (time.Time, error) {
	oldest := time.Now()
	for p, at := range reaches {
		if at.first >= at.end {
			continue
		}
		if at.first < at.start { // deleted: its time is not known
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
			if known.at.IsZero() { // there is no record: read the stores from their beginning
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
