package consumer

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/event"
)

// limits bound how much is read ahead and how large a batch is. Zero is no limit.
type limits struct {
	ordered      bool // a batch of a partition is cut only after the previous one is settled,
	atOnce       int  // except that so many full ones may be in progress, each with its turn
	batchRecords int
	batchBytes   int
	aheadRecords int
	aheadBytes   int
	wait         time.Duration // how long a batch that is not full waits for more, where order does not matter
}

// span is a batch that was handed out and is not settled.
type span struct {
	next    kgo.EpochOffset // the offset to commit once it is settled
	records int
	bytes   int
	settled bool
	turn    *event.Turn // nil: no other batch is in progress until it is settled
}

// partition is the state of a partition that is assigned to this member: records that wait to be handed out, and
// batches in progress. It is not safe for concurrent use.
//
// Offsets are settled in the order in which the batches were cut: a batch that is acknowledged early counts only when
// all batches before it are. That is the order of the log, except when the topic is deleted and created again while it
// is read: its offsets then begin at 0.
type partition struct {
	topic  string
	number int32
	told   told // for messages

	queue  []*kgo.Record
	queued int       // bytes in the queue
	since  time.Time // when the oldest record of the queue came, or later
	spans  []*span   // the oldest first

	records, bytes int         // read and not settled: records and bytes
	inFlight       int         // batches
	turn           *event.Turn // of the last batch; nil: it has none
	settled        kgo.EpochOffset
	committed      kgo.EpochOffset
	next, end      int64     // the offset after the last record that was read, and after the last one in the log
	last           time.Time // when the last record that was handed out was written
	moved          time.Time // when records came, or a batch was settled
	paused         bool      // the client does not fetch it
	leaving        bool      // hands out no more
	gone           bool      // another member has it: nothing of it is committed
}

func newPartition(topic string, number int32, texts *texts) *partition {
	return &partition{topic: topic, number: number, told: tell(topic, number, texts)}
}

func sizeOf(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// push appends records that were read to the queue.
func (p *partition) push(records []*kgo.Record, now time.Time) {
	if p.leaving || len(records) == 0 {
		return
	}
	if len(p.queue) == 0 {
		p.since = now
	}
	p.queue = append(p.queue, records...)
	n := 0
	for _, r := range records {
		n += sizeOf(r)
	}
	p.queued += n
	p.records += len(records)
	p.bytes += n
	p.next, p.moved = records[len(records)-1].Offset+1, now
}

// due returns the earliest time at which a batch can be cut. ever is false if none can be cut until something changes.
func (p *partition) due(l limits) (at time.Time, ever bool) {
	switch {
	case p.leaving || len(p.queue) == 0 || l.ordered && p.inFlight > 0 && !p.another(l):
		return at, false
	case l.ordered || l.batchRecords > 0 && len(p.queue) >= l.batchRecords ||
		l.batchBytes > 0 && p.queued >= l.batchBytes || p.full(l):
		return at, true
	}
	return p.since.Add(l.wait), true
}

// another reports whether one more batch may be in progress when order matters: there are fewer than atOnce, those in
// progress have a turn, and the next one would be full. Smaller ones are not cut, but wait for the batch before them.
func (p *partition) another(l limits) bool {
	return p.inFlight < l.atOnce && p.turn != nil && p.queued >= l.batchBytes
}

// cut takes a batch off the queue: at least one record, and no more than the limits and the bound allow.
func (p *partition) cut(l limits, b bound, now time.Time) ([]*kgo.Record, *span) {
	n, bytes := 0, 0
	for n < len(p.queue) && (l.batchRecords <= 0 || n < l.batchRecords) {
		size := sizeOf(p.queue[n])
		if n > 0 && (l.batchBytes > 0 && bytes+size > l.batchBytes || !b.passes(p.queue[n], now)) {
			break
		}
		n, bytes = n+1, bytes+size
	}
	batch := p.queue[:n:n]
	p.queue = p.queue[n:]
	p.queued -= bytes
	if len(p.queue) == 0 {
		p.queue = nil
	}
	last := batch[n-1]
	if at := writtenAt(last, now); !at.IsZero() {
		p.last = at
	}
	s := &span{next: kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}, records: n, bytes: bytes}
	if l.ordered && l.atOnce > 1 && (p.inFlight > 0 || len(p.queue) > 0) {
		s.turn = event.NewTurn(p.turn, n)
	}
	p.turn = s.turn
	p.spans = append(p.spans, s)
	p.inFlight++
	return batch, s
}

// settle marks a batch as acknowledged. A second call changes nothing.
func (p *partition) settle(s *span) {
	if s.settled {
		return
	}
	s.settled = true
	if s.turn != nil {
		s.turn.End()
	}
	p.inFlight--
	for len(p.spans) > 0 && p.spans[0].settled {
		first := p.spans[0]
		p.spans[0] = nil
		p.spans = p.spans[1:]
		p.settled = first.next
		p.records -= first.records
		p.bytes -= first.bytes
	}
}

// leave drops the records that were not handed out.
func (p *partition) leave() {
	p.leaving = true
	p.queue, p.queued = nil, 0
}

// dirty reports whether there is something to commit.
func (p *partition) dirty() bool { return !p.gone && p.settled != p.committed }

// full reports whether no more is to be read ahead.
func (p *partition) full(l limits) bool {
	return l.aheadRecords > 0 && p.records >= l.aheadRecords || l.aheadBytes > 0 && p.bytes >= l.aheadBytes
}

// pausing reports whether the client must not fetch the partition: from when it is full until half of that is settled.
func (p *partition) pausing(l limits) bool {
	if !p.paused {
		return p.full(l)
	}
	half := limits{aheadRecords: (l.aheadRecords + 1) / 2, aheadBytes: (l.aheadBytes + 1) / 2}
	return p.full(half)
}
