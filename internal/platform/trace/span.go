package trace

import (
	"context"
	"errors"

	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Span is one request that is traced. A nil one is one that is not.
type Span struct{ span oteltrace.Span }

// Begin decides whether a request is traced. It returns its span, if it is, and
// the traceparent that its events carry: that of the span, or the caller's own,
// which then says that nobody follows it. id is what the request is known by; a
// trace that begins here has it as its own if it can be one.
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

// End ends the span of a request that was answered with an HTTP status.
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

// Parents are the traces of a batch that are followed, each with how many of its
// messages are of it. It is also metadata of a message that stands for many.
type Parents map[string]int

// ParentsOf finds them. It returns nil for none, as do most batches.
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

// Spans are those of a batch, one for each trace in it. Nil is none.
type Spans struct {
	size  int
	spans map[string]oteltrace.Span // by the parent
}

// Batch begins the spans of what a stage does with a batch.
func (p *Provider) Batch(stage string, batch service.MessageBatch) *Spans {
	return p.begin(stage, oteltrace.SpanKindInternal, batch)
}

// Write is Batch for a stage that writes to the log.
func (p *Provider) Write(stage string, batch service.MessageBatch) *Spans {
	return p.begin(stage, oteltrace.SpanKindProducer, batch)
}

// Receive begins the spans of a batch that was read from the log: what later
// stages do with its messages is a part of them.
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
		if Valid(parent) == "" { // something else writes to the topic
			continue
		}
		ctx := oteltrace.ContextWithRemoteSpanContext(context.Background(), contextOf(parent))
		_, s.spans[parent] = p.tracer.Start(ctx, stage, oteltrace.WithSpanKind(kind), oteltrace.WithAttributes(
			attribute.Int("messaging.batch.message_count", n), attribute.Int("weir.batch_messages", len(batch))))
	}
	return s
}

// End ends the spans. An error is told as such, and not in its words.
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
