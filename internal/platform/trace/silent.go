package trace

import (
	"context"

	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Silent provides the engine with a tracer that makes no spans and returns contexts unchanged. The engine starts a
// span per message and layer; OpenTelemetry's no-op tracer would wrap the context each time, and every lookup in it
// would pass through all wrappers.
type Silent struct{ noop.TracerProvider }

// Tracer returns that tracer for every name.
func (Silent) Tracer(string, ...oteltrace.TracerOption) oteltrace.Tracer { return silentTracer{} }

type silentTracer struct{ noop.Tracer }

// Start returns the context's span if it does not record, which without a span is the no-op span.
func (t silentTracer) Start(ctx context.Context, name string, with ...oteltrace.SpanStartOption) (context.Context,
	oteltrace.Span) {
	span := oteltrace.SpanFromContext(ctx)
	if span.IsRecording() { // its owner must end it
		return t.Tracer.Start(ctx, name, with...)
	}
	return ctx, span
}
