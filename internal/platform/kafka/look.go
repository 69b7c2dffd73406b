package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Stretch is the range of offsets [First, Limit) of a partition. Some offsets of a log have no event: markers that end
// transactions and, for readers of committed records, records of aborted transactions.
type Stretch struct {
	Topic        string
	Partition    int32
	First, Limit int64
}

// lookIdle is how long Look waits for a further record before it ends.
const lookIdle = 3 * time.Second

// Look reads a stretch with an isolation level, and returns how many records and markers it has. whole is false if the
// log did not return all of it, because a transaction may be open. Use it for short stretches.
func (c Cluster) Look(ctx context.Context, clientID string, s Stretch, level kgo.IsolationLevel) (records,
	markers int64, whole bool, err error) {
	client, err := kgo.NewClient(append(c.Options(clientID),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.Topic: {s.Partition: kgo.NewOffset().At(s.First)}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(level),
		kgo.FetchMaxPartitionBytes(1<<20), kgo.FetchMaxBytes(1<<20),
	)...)
	if err != nil {
		return 0, 0, false, fmt.Errorf("looking at %s/%d: %w", s.Topic, s.Partition, err)
	}
	defer client.Close()
	for {
		polled, cancel := context.WithTimeout(ctx, lookIdle)
		fetches := client.PollFetches(polled)
		cancel()
		if err := ctx.Err(); err != nil {
			return records, markers, false, err
		}
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, context.DeadlineExceeded) {
				return records, markers, false, nil
			}
			return records, markers, false, fmt.Errorf("looking at %s/%d: %w", s.Topic, s.Partition, c.Explain(e.Err))
		}
		for it := fetches.RecordIter(); !it.Done(); {
			switch r := it.Next(); {
			case r.Offset >= s.Limit:
				return records, markers, true, nil
			case r.Attrs.IsControl():
				markers++
				whole = r.Offset == s.Limit-1
			default:
				records++
				whole = r.Offset == s.Limit-1
			}
			if whole {
				return records, markers, true, nil
			}
		}
	}
}
