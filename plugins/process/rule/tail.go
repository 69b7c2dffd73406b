package rule

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// tail is what lies from where a partition was read to up to its end.
type tail struct {
	next, end int64
	empty     bool
}

// tailMost bounds the offsets of a tail that is looked at: one transaction leaves one
// marker, and a few may end without an event.
const tailMost = 16

// readTo tells whether no event lies from an offset up to the end of a partition:
// behind the last of a transaction lies its marker, which is no event. What is there
// is looked at once, the time of one fetch. What cannot be is taken for events.
func (o *output) readTo(ctx context.Context, at kafka.Partition, next, end int64) bool {
	if next == end {
		return true
	}
	if next < 0 || next > end || end-next > tailMost {
		return false
	}
	seen := o.tails[at]
	if seen.next == next && seen.end == end {
		return seen.empty
	}
	events, _, whole, err := o.cluster.Look(ctx, "weir-rules-idle",
		kafka.Stretch{Topic: at.Topic, Partition: at.Number, First: next, Limit: end}, kgo.ReadCommitted())
	if err != nil {
		o.late.Note("tail "+at.String(), "the end of "+at.String()+" cannot be read, and its time waits: "+err.Error())
		return false
	}
	if o.tails == nil {
		o.tails = map[kafka.Partition]tail{}
	}
	o.tails[at] = tail{next, end, whole && events == 0}
	return o.tails[at].empty
}
