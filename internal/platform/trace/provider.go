// Package trace traces requests through weir: one span for the gate, and one per stage and batch for its events. The
// gate decides once what is traced, and records carry the decision in the header traceparent: stages make spans only
// for records that have it.
//
// Spans say how long something took, how many events it had and whether it failed. They contain no event, device,
// fleet, key or error text, because a collector is not one of the stores that weir erases from.
package trace

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"weir/internal/platform/meter"
)

// Header is the HTTP header, record header and metadata with the trace context (W3C Trace Context).
const Header = "traceparent"

// askedPerSecond limits how many requests a second are traced because their clients ask for it, since all of them
// might.
const askedPerSecond = 10

// Provider makes spans. It also acts as the engine's tracer provider and gives it a silent tracer, because the engine
// would make a span for each message and each of its processors, traced or not. A nil Provider traces nothing.
type Provider struct {
	Silent

	sdk    *sdktrace.TracerProvider
	tracer oteltrace.Tracer
	queue  *queue
	below  uint64 // a request is traced if a random uint64 is less
	all    bool

	askedIn atomic.Int64 // Unix second in the upper bits, count within it in the lower 8
	counted sync.Once
}

// Options configure a Provider.
type Options struct {
	Ratio    float64 // fraction of requests to trace, 0 to 1
	Exporter sdktrace.SpanExporter
	Version  string // weir's version
	Log      *service.Logger
}

// New returns a Provider that exports spans until Shutdown.
func New(o Options) *Provider {
	p := &Provider{queue: newQueue(o.Exporter, o.Log), all: o.Ratio >= 1}
	if o.Ratio > 0 && !p.all {
		p.below = uint64(o.Ratio * (1 << 63) * 2)
	}
	p.sdk = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p.queue),
		sdktrace.WithResource(described(o.Version)), sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSampler(sdktrace.AlwaysSample())) // a span is only started for what is traced
	p.tracer = p.sdk.Tracer("weir")
	return p
}

// Of returns the Provider of these resources, or nil when tracing is off.
func Of(res *service.Resources) *Provider {
	p, ok := res.OtelTracer().(*Provider)
	if !ok {
		return nil
	}
	// The engine creates tracers before metrics, so the first component that asks registers the counter.
	p.counted.Do(func() {
		p.queue.count(meter.Counters(res.Metrics(), "weir_trace_spans_total", "result", resultSent, resultDropped,
			resultFailed))
	})
	return p
}

// Shutdown exports the remaining spans, for a few seconds at most.
func (p *Provider) Shutdown(ctx context.Context) error { return p.sdk.Shutdown(ctx) }

// chosen tells whether a request is traced. It is decided at random and not by the caller's trace id, which callers
// could choose.
func (p *Provider) chosen(asked bool) bool {
	return p.all || p.below > 0 && rand.Uint64() < p.below || asked && p.allow(time.Now().Unix())
}

// allow returns true up to askedPerSecond times in a second.
func (p *Provider) allow(second int64) bool {
	for {
		was := p.askedIn.Load()
		next := was + 1
		if was>>8 != second {
			next = second<<8 + 1
		}
		if next&0xff > askedPerSecond {
			return false
		}
		if p.askedIn.CompareAndSwap(was, next) {
			return true
		}
	}
}

// described returns the resource attributes of all spans.
func described(version string) *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", "weir"), attribute.String("service.version", version))
}
