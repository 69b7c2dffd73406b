package raw

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Sent is an event as its device sent it.
type Sent struct {
	Fleet string
	At    time.Time // effective time
	JSON  []byte
}

// newestBytes bounds the events that Newest returns.
const newestBytes = 32 << 20

// Newest reads backwards, one stretch of time after the other. The first has the length
// newestFirst, each further one newestFactor times that of the one before.
const newestFirst, newestFactor = 10 * time.Second, 6

// Newest returns the newest events of a query, newest first. The query must have both
// From and To. The result has up to `most` events, and fewer when the range has no more
// or when they would exceed 32 MiB. When the deadline of ctx passes, Newest returns what it
// has found so far, and whole is false.
func (r *Reader) Newest(ctx context.Context, q Query, most int) (events []Sent, whole bool, err error) {
	found := &newest{most: most}
	for length, begin := newestFirst, q.From; begin.Before(q.To) && len(found.events) < most; length *= newestFactor {
		if q.From = q.To.Add(-length); q.From.Before(begin) {
			q.From = begin
		}
		if _, err = r.Scan(ctx, q, found.add); err != nil {
			break
		}
		if found.cut {
			break
		}
		q.To = q.From
	}
	late := errors.Is(err, context.DeadlineExceeded)
	if late {
		err = nil
	}
	slices.SortStableFunc(found.events, func(a, b Sent) int { return b.At.Compare(a.At) })
	return found.events, !late && err == nil, err
}

// newest is a heap of the newest events so far, the oldest of them on top.
type newest struct {
	most, bytes int
	cut         bool // events were left out because of the bound on bytes
	events      []Sent
}

func (n *newest) add(r *Row) (err error) {
	at := time.UnixMicro(r.At)
	if len(n.events) > 0 && (len(n.events) >= n.most || n.cut) && !at.After(n.events[0].At) {
		return nil
	}
	s := Sent{Fleet: strings.Clone(r.Fleet), At: at}
	if s.JSON, err = r.AppendJSON(nil); err != nil {
		return err
	}
	n.bytes += len(s.JSON)
	heap.Push(n, s)
	for len(n.events) > n.most || n.bytes > newestBytes && len(n.events) > 1 {
		n.cut = n.cut || len(n.events) <= n.most
		n.bytes -= len(heap.Pop(n).(Sent).JSON)
	}
	return nil
}

func (n *newest) Len() int           { return len(n.events) }
func (n *newest) Less(i, j int) bool { return n.events[i].At.Before(n.events[j].At) }
func (n *newest) Swap(i, j int)      { n.events[i], n.events[j] = n.events[j], n.events[i] }
func (n *newest) Push(x any)         { n.events = append(n.events, x.(Sent)) }
func (n *newest) Pop() any {
	last := n.events[len(n.events)-1]
	n.events = n.events[:len(n.events)-1]
	return last
}
