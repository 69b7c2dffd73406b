package rule

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// tail is what was found between the offset up to which a partition was read and its end.
type tail struct {
	next, end int64
	empty     bool
	again     time.Time // not all of it was shown: it is read again after this; zero: empty is final
}

// tailMost bounds the offsets of a tail that is read: every transaction leaves one marker, and a few transactions in
// a row may be without committed events.
const tailMost = 16

// tailAgain is the time after which a tail is read again that the log did not show in time. Each attempt holds up
// batches for some seconds.
const tailAgain = time.Minute

// readTo reports whether no committed event lies between an offset and the end of a partition. They need not be
// equal: after the events of a transaction comes its marker, which is not an event. A tail is read from the log once,
// and the answer is kept for as long as both offsets stay. A tail that cannot be read, or is not shown whole in time,
// is taken to have events until it is read again.
func (o *output) readTo(ctx context.Context, at kafka.Partition, next, end int64) bool {
	if next == end {
		return true
	}
	if next < 0 || next > end || end-next > tailMost {
		return false
	}
	seen := o.tails[at]
	if seen.next == next && seen.end == end && (seen.again.IsZero() || o.now().Before(seen.again)) {
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
	seen = tail{next: next, end: end, empty: whole && events == 0}
	if !whole && events == 0 {
		seen.again = o.now().Add(tailAgain)
		o.late.Note("tail "+at.String(), "the end of "+at.String()+" was not shown in time, and its time waits")
	}
	o.tails[at] = seen
	return seen.empty
}
