package trace

import (
	"context"
	"errors"

	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Span is the span of a traced request; nil for an untraced one.
type Span struct{ span oteltrace.Span }

// Begin decides whether a request is traced. It returns the span (nil if not) and the traceparent for its events: the
// span's, or the caller's without the sampled flag. id is the request id, which becomes the id of a new trace if it
// has the form of one.
func (p *Provider) Begin(name, caller, id string) (*Span, string) {
	if p == nil {
		return nil, caller
	}
	if !p.chosen(sampled(caller)) {
		return nil, muted(caller)
	}
	ctx := context.Background()
	if caller != "" {
		ctx = oteltrace.ContextWithRemoteSpanContext(ctx, contextOf(caller))
	} else if own, err := oteltrace.TraceIDFromHex(id); err == nil {
		ctx = context.WithValue(ctx, rootKey{}, own)
	}
	_, span := p.tracer.Start(ctx, name, oteltrace.WithSpanKind(oteltrace.SpanKindServer),
		oteltrace.WithAttributes(attribute.String("weir.request_id", id)))
	return &Span{span}, textOf(span.SpanContext())
}

// End ends the span of a request with its HTTP status and numbers of events.
func (s *Span) End(status, events, rejected int) {
	if s == nil {
		return
	}
	s.span.SetAttributes(attribute.Int("http.response.status_code", status), attribute.Int("weir.events", events),
		attribute.Int("weir.rejected_events", rejected))
	if status >= 500 {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}

// Parents are the sampled traceparents in a batch, with the number of messages of each. It is also the metadata of a
// message that stands for many.
type Parents map[string]int

// ParentsOf returns the Parents of a batch, usually nil.
func (p *Provider) ParentsOf(batch service.MessageBatch) (found Parents) {
	if p == nil {
		return nil
	}
	for _, msg := range batch {
		v, ok := msg.MetaGetImmut(Header)
		if !ok {
			continue
		}
		switch v := v.(type) {
		case string:
			if sampled(v) {
				found = found.add(v, 1)
			}
		case Parents:
			for parent, n := range v {
				found = found.add(parent, n)
			}
		}
	}
	return found
}

func (p Parents) add(parent string, n int) Parents {
	if p == nil {
		p = Parents{}
	}
	p[parent] += n
	return p
}

// Spans are the spans of a batch, one per trace in it; nil for none.
type Spans struct {
	size  int
	spans map[string]oteltrace.Span // by parent
}

// Batch starts the spans for a stage's work on a batch.
func (p *Provider) Batch(stage string, batch service.MessageBatch) *Spans {
	return p.begin(stage, oteltrace.SpanKindInternal, batch)
}

// Write is Batch for a stage that writes to the log.
func (p *Provider) Write(stage string, batch service.MessageBatch) *Spans {
	return p.begin(stage, oteltrace.SpanKindProducer, batch)
}

// Receive starts the spans of a batch that was read from the log, and makes them the parents of later stages' spans
// by replacing the traceparent of its messages.
func (p *Provider) Receive(stage string, batch service.MessageBatch) *Spans {
	s := p.begin(stage, oteltrace.SpanKindConsumer, batch)
	if s == nil {
		return nil
	}
	own := make(map[string]any, len(s.spans))
	for parent, span := range s.spans {
		own[parent] = textOf(span.SpanContext())
	}
	for _, msg := range batch {
		if v, ok := msg.MetaGetImmut(Header); ok {
			if parent, ok := v.(string); ok && own[parent] != nil {
				msg.MetaSetMut(Header, own[parent])
			}
		}
	}
	return s
}

func (p *Provider) begin(stage string, kind oteltrace.SpanKind, batch service.MessageBatch) *Spans {
	found := p.ParentsOf(batch)
	if found == nil {
		return nil
	}
	s := &Spans{len(batch), make(map[string]oteltrace.Span, len(found))}
	for parent, n := range found {
		if Valid(parent) == "" { // another producer wrote to the topic
			continue
		}
		ctx := oteltrace.ContextWithRemoteSpanContext(context.Background(), contextOf(parent))
		_, s.spans[parent] = p.tracer.Start(ctx, stage, oteltrace.WithSpanKind(kind), oteltrace.WithAttributes(
			attribute.Int("messaging.batch.message_count", n), attribute.Int("weir.batch_messages", len(batch))))
	}
	return s
}

// End ends the spans. They record that there was an error, but not its text.
func (s *Spans) End(err error) {
	if s == nil {
		return
	}
	var some *service.BatchError
	for _, span := range s.spans {
		switch {
		case errors.As(err, &some):
			span.SetAttributes(attribute.Int("weir.rejected_messages", some.IndexedErrors()))
		case err != nil:
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
