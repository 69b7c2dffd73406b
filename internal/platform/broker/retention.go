package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const retainInterval = time.Minute

// retain deletes records older than their topic's retention, once a minute. The last record of each partition always
// stays, because after a crash the broker takes the next offset from it. If offsets began at 0 again, two events would
// have the same coordinates.
func (b *Broker) retain(ctx context.Context) {
	tick := time.NewTicker(retainInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := b.retainAt(ctx, now); err != nil && ctx.Err() == nil {
				b.conf.Logger.Error(err.Error())
			}
		}
	}
}

// retainAt deletes the records that are past their topic's retention at a time.
func (b *Broker) retainAt(ctx context.Context, now time.Time) error {
	log, err := b.Log()
	if err != nil {
		return fmt.Errorf("deleting expired records: %w", err)
	}
	client, err := kgo.NewClient(log.Options("weir-retention")...)
	if err != nil {
		return fmt.Errorf("deleting expired records: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, t := range b.conf.Topics {
		keep, err := admin.ListOffsetsAfterMilli(ctx, now.Add(-t.Retention).UnixMilli(), t.Name)
		if err != nil {
			return fmt.Errorf("deleting expired records of %s: %w", t.Name, err)
		}
		for partition, from := range keep[t.Name] {
			info := b.cluster.PartitionInfo(t.Name, partition)
			if info == nil || from.Err != nil {
				continue // deleted meanwhile, or not readable now: the next round tries it again
			}
			first := min(from.Offset, info.HighWatermark-1)
			if first <= info.LogStartOffset {
				continue
			}
			if err := b.cluster.DeleteRecords(t.Name, partition, first); err != nil {
				return fmt.Errorf("deleting expired records of %s/%d: %w", t.Name, partition, err)
			}
		}
	}
	return nil
}
