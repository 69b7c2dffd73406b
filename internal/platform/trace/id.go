package trace

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	oteltrace "go.opentelemetry.io/otel/trace"
)

// newID is a new trace id.
func newID() (id oteltrace.TraceID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()|1) // never all zeros
	return id
}

// NewID is an id for a request that comes with none, 32 hex digits: if the request
// is traced, it is the id of its trace.
func NewID() string {
	id := newID()
	return hex.EncodeToString(id[:])
}

// rootKey is where Begin puts the id of a trace that begins with a request.
type rootKey struct{}

// ids makes the ids of spans, and takes that of a trace from where Begin put it.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator.
func (i ids) NewIDs(ctx context.Context) (oteltrace.TraceID, oteltrace.SpanID) {
	id, ok := ctx.Value(rootKey{}).(oteltrace.TraceID)
	if !ok {
		id = newID()
	}
	return id, i.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(context.Context, oteltrace.TraceID) (id oteltrace.SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}
