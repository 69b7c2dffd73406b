package event

import (
	"context"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Verdicts collects, for one request, what became of each of its events. The
// gate attaches it to the context that all messages of the request share, and
// each message carries its index as metadata: neither is read by position,
// which the engine does not keep (batched processors that reshape a batch hand
// contexts on to the wrong message).
//
// An event without a rejection was accepted, once the request is acknowledged.
type Verdicts struct {
	mu       sync.Mutex
	rejected map[int]*Rejection
}

type verdictsKey struct{}

// WithVerdicts returns a context that carries v.
func WithVerdicts(ctx context.Context, v *Verdicts) context.Context {
	return context.WithValue(ctx, verdictsKey{}, v)
}

// RecordVerdict notes why a message's event was rejected, for the request it
// came with. It does nothing for a message that came with none.
func RecordVerdict(msg *service.Message, r *Rejection) {
	v, ok := msg.Context().Value(verdictsKey{}).(*Verdicts)
	if !ok {
		return
	}
	index, ok := metaInt(msg, MetaIndex)
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
