package rule

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// tail is what was found between the offset up to which a partition was read and its end.
type tail struct {
	next, end int64
	empty     bool
}

// tailMost bounds the offsets of a tail that is read: every transaction leaves one marker, and a few transactions in
// a row may be without committed events.
const tailMost = 16

// readTo reports whether no committed event lies between an offset and the end of a partition. They need not be
// equal: after the events of a transaction comes its marker, which is not an event. A tail is read from the log once,
// and the answer is kept for as long as both offsets stay. A tail that cannot be read is taken to have events.
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
