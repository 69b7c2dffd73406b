package rule

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// tail is what was found between the offset up to which a partition was read and its end.
type tail struct {
	of        kafka.Partition
	next, end int64
	empty     bool
	again     time.Time // not all of it was shown: it is read again after this; zero: empty is final
}

// tailMost bounds the offsets of a tail that is read: every transaction leaves one marker, and a few transactions in
// a row may be without committed events.
const tailMost = 16

// tailAgain is the time after which a tail is read again that the log did not show in time. Each attempt takes
// some seconds.
const tailAgain = time.Minute

// readTo reports whether no committed event lies between an offset and the end of a partition.
// They need not be equal: after the events of a transaction comes its marker, which is not an
// event. A tail that was not read is taken to have events, and noted in a; readTail reads it. The
// caller holds mu.
func (o *output) readTo(a *answers, at kafka.Partition, next int64) bool {
	end, known := a.ends[at]
	if !known || next < 0 || next > end || end-next > tailMost {
		return false
	}
	if next == end {
		return true
	}
	seen := o.tails[at]
	if seen.next == next && seen.end == end && (seen.again.IsZero() || o.now().Before(seen.again)) {
		return seen.empty
	}
	if t := (tail{of: at, next: next, end: end}); !slices.Contains(a.unread, t) {
		a.unread = append(a.unread, t)
	}
	return false
}

// readTail reads a tail from the log once, and keeps the answer for as long as both offsets stay. A tail that is not
// shown whole in time is taken to have events until it is read again.
func (o *output) readTail(ctx context.Context, t tail) {
	events, _, whole, err := o.cluster.Look(ctx, "weir-rules-idle",
		kafka.Stretch{Topic: t.of.Topic, Partition: t.of.Number, First: t.next, Limit: t.end}, kgo.ReadCommitted())
	if err != nil {
		o.late.Note("tail "+t.of.String(), "the end of "+t.of.String()+" cannot be read, and its time waits: "+err.Error())
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tails == nil {
		o.tails = map[kafka.Partition]tail{}
	}
	t.empty = whole && events == 0
	if !whole && events == 0 {
		t.again = o.now().Add(tailAgain)
		o.late.Note("tail "+t.of.String(), "the end of "+t.of.String()+" was not shown in time, and its time waits")
	}
	o.tails[t.of] = t
}
