package admission

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

const (
	// tailMost is the most offsets at the end of a partition whose contents are looked up.
	tailMost = 100
	// tailStill is how long a group must stand before them until they are.
	tailStill = 5 * time.Second
)

// tails are the ends of partitions that groups do not commit. A group commits what it has
// processed, and never the marker of a transaction at the end of the log: such an offset is no
// event that waits, however long it is there.
type tails map[tailKey]tail

type tailKey struct {
	group     string
	partition kafka.Partition
}

type tail struct {
	from, end int64
	since     time.Time
	looked    bool
	empty     bool // only markers and aborted records
}

// pass moves a group's offsets past tails without events.
func (t tails) pass(ctx context.Context, log kafka.Cluster, now time.Time, group string, starts, ends,
	at offsets) error {
	for p, end := range ends {
		key, from := tailKey{group, p}, max(at[p], starts[p])
		if from >= end || end-from > tailMost {
			delete(t, key)
			continue
		}
		known, ok := t[key]
		if !ok || known.from != from || known.end != end {
			known = tail{from: from, end: end, since: now}
		}
		if !known.looked && now.Sub(known.since) >= tailStill {
			records, _, whole, err := log.Look(ctx, "weir-gate", kafka.Stretch{Topic: p.Topic, Partition: p.Number,
				First: from, Limit: end}, kgo.ReadCommitted())
			if err != nil {
				return err
			}
			known.looked, known.empty = true, whole && records == 0
		}
		t[key] = known
		if known.empty {
			at[p] = end
		}
	}
	return nil
}
