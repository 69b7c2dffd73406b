package event

import (
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/requestid"
)

// Verdicts collects the outcome of each event of one request. Every message carries the Verdicts of its request and
// its index there as metadata, which stay with it. Its context and position do not: when a batched processor drops a
// message, the engine passes the contexts of earlier messages on to later ones, perhaps of another request.
//
// An event without a rejection counts as accepted once the request is acknowledged - unless a processor dropped it,
// which the engine acknowledges as well. Outputs that call RecordWritten, as event_log does, reveal dropped events.
type Verdicts struct {
	Request string // the request id, if any; set before use

	mu       sync.Mutex
	rejected map[int]*Rejection
	first    uint64   // one bit for each of the first 64 events: written
	others   []uint64 // the same for later events
}

// Attach attaches the verdicts and the event's index to a message.
func (v *Verdicts) Attach(msg *service.Message, index int) {
	msg.MetaSetMut(MetaVerdicts, v)
	msg.MetaSetMut(MetaIndex, index)
}

// verdictsOf returns the Verdicts of a message and its index. ok is false for a message without a request.
func verdictsOf(msg *service.Message) (v *Verdicts, index int, ok bool) {
	value, _ := msg.MetaGetImmut(MetaVerdicts)
	if v, ok = value.(*Verdicts); !ok {
		return nil, 0, false
	}
	index, ok = metaInt(msg, MetaIndex)
	return v, index, ok && index >= 0
}

// RequestOf returns the request id of a message at any stage, or "". The raw store keeps no request ids: events of a
// replay have the id of the request that started the replay.
func RequestOf(msg *service.Message) string {
	if v, _, ok := verdictsOf(msg); ok && v.Request != "" {
		return v.Request
	}
	if id := meta(msg, HeaderRequest); id != "" {
		return id
	}
	return requestid.Stamped(meta(msg, HeaderReceivedAt))
}

// OfRequest returns ", of request ID" for a log line that names the event, or "".
func OfRequest(msg *service.Message) string {
	if id := RequestOf(msg); id != "" {
		return ", of request " + id
	}
	return ""
}

// RecordVerdict records the rejection of a message's event. It does nothing for a message without a request.
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

// Rejected returns the rejections by index. Call it only after the acknowledgement: the map is not copied.
func (v *Verdicts) Rejected() map[int]*Rejection {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rejected
}

// RecordWritten records that a message's event is written or about to be; it counts once the request is acknowledged.
// An output that has called Witness.Announce calls it for everything that it writes, including dead letters.
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

// Unwritten returns the indexes of those of n events that were not recorded as written. Call it after the
// acknowledgement.
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
