package event

import (
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/requestid"
)

// Verdicts collects, for one request, what became of each of its events. Every
// message carries the verdicts it belongs to, and its index among them, as
// metadata: that stays with it. Its context does not, nor does its position: a
// batched processor that drops a message hands the contexts of those before on to
// those after, who may be of another request.
//
// An event without a rejection was accepted, once the request is acknowledged -
// unless a processor dropped it, which the engine acknowledges as well. An output
// that says what it writes, as event_log does, shows which ones those are.
type Verdicts struct {
	Request string // what the request is known by, if by anything; set before it is used

	mu       sync.Mutex
	rejected map[int]*Rejection
	first    uint64   // a bit for each of the first 64 events that were written
	others   []uint64 // and for those after them
}

// Attach makes a message the event of the request with the given index.
func (v *Verdicts) Attach(msg *service.Message, index int) {
	msg.MetaSetMut(MetaVerdicts, v)
	msg.MetaSetMut(MetaIndex, index)
}

// verdictsOf returns what a message's request came with, and which of its events
// it is. ok is false for a message that came with no request.
func verdictsOf(msg *service.Message) (v *Verdicts, index int, ok bool) {
	value, _ := msg.MetaGetImmut(MetaVerdicts)
	if v, ok = value.(*Verdicts); !ok {
		return nil, 0, false
	}
	index, ok = metaInt(msg, MetaIndex)
	return v, index, ok && index >= 0
}

// RequestOf is what the request of a message is known by, at any stage; "" if it
// came with none. The raw store keeps no ids: what a replay takes from it has that of
// the request that asked for the replay.
func RequestOf(msg *service.Message) string {
	if v, _, ok := verdictsOf(msg); ok && v.Request != "" {
		return v.Request
	}
	if id := meta(msg, HeaderRequest); id != "" {
		return id
	}
	return requestid.Stamped(meta(msg, HeaderReceivedAt))
}

// OfRequest is RequestOf for a log that has named the event: ", of request ID", or
// nothing.
func OfRequest(msg *service.Message) string {
	if id := RequestOf(msg); id != "" {
		return ", of request " + id
	}
	return ""
}

// RecordVerdict notes why a message's event was rejected, for the request it
// came with. It does nothing for a message that came with none.
func RecordVerdict(msg *service.Message, r *Rejection) {
	v, index, ok := verdictsOf(msg)
	if !ok {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rejected == nil {
		v.rejected = make(map[int]*Rejection)
	}
	v.rejected[index] = r
}

// Rejected returns the rejections by index. Call it after the acknowledgement.
func (v *Verdicts) Rejected() map[int]*Rejection {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rejected
}

// RecordWritten notes that a message's event is written, or is about to be: it
// counts once the request is acknowledged. An output that has announced itself to
// the Witness calls it for all that it writes, dead letters included.
func RecordWritten(msg *service.Message) {
	v, index, ok := verdictsOf(msg)
	if !ok {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	word := &v.first
	if n := index/64 - 1; n >= 0 {
		for len(v.others) <= n {
			v.others = append(v.others, 0)
		}
		word = &v.others[n]
	}
	*word |= 1 << (index % 64)
}

// Unwritten returns which of n events nobody has noted as written. Call it after
// the acknowledgement.
func (v *Verdicts) Unwritten(n int) (missing []int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range n {
		word := v.first
		if i >= 64 {
			word = 0
			if k := i/64 - 1; k < len(v.others) {
				word = v.others[k]
			}
		}
		if word&(1<<(i%64)) == 0 {
			missing = append(missing, i)
		}
	}
	return missing
}
