package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/plugins/store/lake"
)

// look asks the log, in this order, what the responsible groups have committed
// and where the partitions start and end. What was committed was durable before
// the stores are read; what was dead-lettered lies before the end.
func (a *Reconciler) look(ctx context.Context) (map[lake.Partition]reach, error) {
	committed := map[lake.Partition]int64{}
	for _, group := range []string{a.conf.RawGroup, a.conf.DeadLetterGroup} {
		offsets, err := a.committed(ctx, group)
		if errors.Is(err, kerr.GroupIDNotFound) {
			continue // it has not begun: all is in flight
		} else if err != nil {
			return nil, fmt.Errorf("reading what group %s has committed: %w", group, err)
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			if a.groupOf(o.Topic) == group && o.At >= 0 {
				committed[lake.Partition{Topic: o.Topic, Partition: o.Partition}] = o.At
			}
		})
	}
	ends, err := a.list(ctx, "ends", a.admin.ListEndOffsets)
	if err != nil {
		return nil, err
	}
	stable, err := a.list(ctx, "has no open transaction", a.admin.ListCommittedOffsets)
	if err != nil {
		return nil, err
	}
	starts, err := a.list(ctx, "starts", a.admin.ListStartOffsets)
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

// committed reads a group's offsets. A broker that is still finding or making
// its coordinator, as one that has just started does, is asked again.
func (a *Reconciler) committed(ctx context.Context, group string) (offsets kadm.OffsetResponses, err error) {
	for deadline := time.Now().Add(20 * time.Second); ; {
		if offsets, err = a.admin.FetchOffsets(ctx, group); err == nil {
			err = offsets.Error()
		}
		if err == nil || !kerr.IsRetriable(err) || time.Now().After(deadline) {
			return offsets, err
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return offsets, err
		}
	}
}

func (a *Reconciler) groupOf(topic string) string {
	if topic == a.conf.DeadLetterTopic {
		return a.conf.DeadLetterGroup
	}
	return a.conf.RawGroup
}

func (a *Reconciler) list(ctx context.Context, what string, ask func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[lake.Partition]int64, error) {
	listed, err := ask(ctx, a.topics()...)
	if err != nil {
		return nil, fmt.Errorf("listing where the log %s: %w", what, err)
	}
	out := map[lake.Partition]int64{}
	var failed error
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err != nil && failed == nil {
			failed = fmt.Errorf("listing where topic %s %s: %w", o.Topic, what, o.Err)
		}
		if o.Offset >= 0 {
			out[lake.Partition{Topic: o.Topic, Partition: o.Partition}] = o.Offset
		}
	})
	return out, failed
}

const (
	readIdle  = 5 * time.Second // without a record, the rest of a run holds none
	readApart = 2000            // runs of offsets that are closer are read as one
)

// read calls each with the events of the log at the offsets wanted: what was
// committed and is no marker. Offsets that hold none, any more or at all, are
// passed over.
func (a *Reconciler) read(ctx context.Context, wanted map[lake.Partition]lake.Offsets, each func(*kgo.Record) error) error {
	return a.scan(ctx, wanted, kgo.ReadCommitted(), func(r *kgo.Record) error {
		if r.Attrs.IsControl() {
			return nil
		}
		return each(r)
	})
}

// scan is read at an isolation level, with the markers of transactions.
func (a *Reconciler) scan(ctx context.Context, wanted map[lake.Partition]lake.Offsets, level kgo.IsolationLevel, each func(*kgo.Record) error) error {
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

func (a *Reconciler) readRun(ctx context.Context, p lake.Partition, set lake.Offsets, level kgo.IsolationLevel, each func(*kgo.Record) error) error {
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
