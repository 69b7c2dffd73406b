package trace

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	oteltrace "go.opentelemetry.io/otel/trace"

	"weir/internal/platform/requestid"
)

// newID is a new trace id.
func newID() oteltrace.TraceID { return oteltrace.TraceID(requestid.New()) }

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
