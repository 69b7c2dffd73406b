package trace

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	oteltrace "go.opentelemetry.io/otel/trace"

	"weir/internal/platform/requestid"
)

// newID generates a trace id.
func newID() oteltrace.TraceID { return oteltrace.TraceID(requestid.New()) }

// NewID generates an id for a request without one: 32 hex digits, which also become the trace id if it is traced.
func NewID() string {
	id := newID()
	return hex.EncodeToString(id[:])
}

// rootKey is the context key under which Begin puts the id of a new trace.
type rootKey struct{}

// ids generates span ids, and takes a trace id from the context if Begin put one there.
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
