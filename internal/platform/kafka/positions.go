package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Partition names one partition of a log.
type Partition struct {
	Topic  string
	Number int32
}

// String is TOPIC/NUMBER.
func (p Partition) String() string { return p.Topic + "/" + strconv.Itoa(int(p.Number)) }

// Positions reads the offsets of a log and its groups. Each answer is complete: if one partition cannot be read, the
// result is an error that names the topic.
//
// Read the groups' committed offsets before the ends of the log: then a group is never ahead of the log.
type Positions struct{ Admin *kadm.Client }

// coordinatorWait is how long to wait for brokers that cannot find a group's coordinator, as after their start.
const coordinatorWait, coordinatorPause = 20 * time.Second, 250 * time.Millisecond

// Starts returns the first offset of each partition that the log has.
func (p Positions) Starts(ctx context.Context, topics ...string) (map[Partition]int64, error) {
	return listed(p.Admin.ListStartOffsets(ctx, topics...))("starts")
}

// Ends returns the offset of each partition that the next record will get.
func (p Positions) Ends(ctx context.Context, topics ...string) (map[Partition]int64, error) {
	return listed(p.Admin.ListEndOffsets(ctx, topics...))("ends")
}

// StableEnds returns the ends for readers of committed records: the first record of the oldest open transaction, or
// the end if there is none.
func (p Positions) StableEnds(ctx context.Context, topics ...string) (map[Partition]int64, error) {
	return listed(p.Admin.ListCommittedOffsets(ctx, topics...))("has no open transaction")
}

// After returns the offsets of the first records at or after a time, by their timestamps. For a partition without one
// it is the end, or -1 if the partition is empty.
func (p Positions) After(ctx context.Context, t time.Time, topics ...string) (map[Partition]int64, error) {
	return listed(p.Admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topics...))("was at " + t.UTC().Format(time.RFC3339))
}

// Committed returns the committed offsets of a group, without the partitions where it has committed none. A group that
// does not exist has none.
func (p Positions) Committed(ctx context.Context, group string) (map[Partition]int64, error) {
	commits, err := p.Commits(ctx, group)
	if err != nil {
		return nil, err
	}
	out := make(map[Partition]int64, len(commits))
	for at, c := range commits {
		out[at] = c.Offset
	}
	return out, nil
}

// Commit is what a group has committed for a partition.
type Commit struct {
	Offset int64
	// Period is how long the group's store collects a batch, from CommitNote; it is known only if Says is true.
	Period time.Duration
	Says   bool
}

// commitPeriod begins the metadata of a commit.
const commitPeriod = "period="

// CommitNote returns the metadata of a commit by a group whose store collects batches for a period: readers can then
// distinguish records in a batch from a backlog.
func CommitNote(period time.Duration) string { return commitPeriod + period.String() }

// Commits is Committed with the metadata of the commits.
func (p Positions) Commits(ctx context.Context, group string) (map[Partition]Commit, error) {
	for deadline := time.Now().Add(coordinatorWait); ; {
		offsets, err := p.Admin.FetchOffsets(ctx, group)
		if err == nil {
			err = offsets.Error()
		}
		switch {
		case err == nil, errors.Is(err, kerr.GroupIDNotFound):
			out := map[Partition]Commit{}
			offsets.Each(func(o kadm.OffsetResponse) {
				if o.Err == nil && o.At >= 0 {
					c := Commit{Offset: o.At}
					if text, is := strings.CutPrefix(o.Metadata, commitPeriod); is {
						period, err := time.ParseDuration(text)
						c.Period, c.Says = max(period, 0), err == nil
					}
					out[Partition{o.Topic, o.Partition}] = c
				}
			})
			return out, nil
		case !kerr.IsRetriable(err) || time.Now().After(deadline):
			return nil, fmt.Errorf("reading what group %s has committed: %w", group, err)
		}
		select {
		case <-time.After(coordinatorPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("reading what group %s has committed: %w", group, err)
		}
	}
}

func listed(l kadm.ListedOffsets, err error) func(what string) (map[Partition]int64, error) {
	return func(what string) (map[Partition]int64, error) {
		if err != nil {
			return nil, fmt.Errorf("listing where the log %s: %w", what, err)
		}
		out := map[Partition]int64{}
		var failed error
		l.Each(func(o kadm.ListedOffset) {
			if o.Err != nil && failed == nil {
				failed = fmt.Errorf("listing where topic %s %s: %w", o.Topic, what, o.Err)
			}
			out[Partition{o.Topic, o.Partition}] = o.Offset
		})
		if failed != nil {
			return nil, failed
		}
		return out, nil
	}
}
