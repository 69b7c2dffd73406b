// Package trace follows a request through weir: a span for what the gate did with
// it, and one for what each stage did with its events in a batch. What is traced is
// decided once, by the gate, and travels in the records' header traceparent; a
// stage that finds it makes spans, and one that finds none does nothing.
//
// Spans say how long, how many and whether it failed. They hold no event, no
// device, no fleet, no key and no text of an error: a collector is not one of the
// stores that weir erases from.
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

// Header is the header of HTTP and of records, and the metadata, that says which
// trace something belongs to (W3C Trace Context).
const Header = "traceparent"

// askedPerSecond bounds how many requests a second are traced because their
// clients ask for it: a fleet whose clients all ask costs no more than that.
const askedPerSecond = 10

// Provider makes spans. It is the engine's tracer too, and gives that none: the
// engine would make one for each message and each of its processors, traced or not.
// A nil Provider traces nothing, and costs nothing.
type Provider struct {
	Silent

	sdk    *sdktrace.TracerProvider
	tracer oteltrace.Tracer
	queue  *queue
	below  uint64 // a request is traced if a random number is less
	all    bool

	askedIn atomic.Int64 // a second of Unix time in the upper bits, how many in the lower 8
	counted sync.Once
}

// Options say what is traced, and where spans go.
type Options struct {
	Ratio    float64 // the share of requests, 0 to 1
	Exporter sdktrace.SpanExporter
	Version  string // of weir
	Log      *service.Logger
}

// New makes a provider that sends spans until it is shut down.
func New(o Options) *Provider {
	p := &Provider{queue: newQueue(o.Exporter, o.Log), all: o.Ratio >= 1}
	if o.Ratio > 0 && !p.all {
		p.below = uint64(o.Ratio * (1 << 63) * 2)
	}
	p.sdk = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p.queue),
		sdktrace.WithResource(described(o.Version)), sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSampler(sdktrace.AlwaysSample())) // a span is only begun for what is traced
	p.tracer = p.sdk.Tracer("weir")
	return p
}

// Of returns what the components of these resources trace with, nil for nothing.
func Of(res *service.Resources) *Provider {
	p, ok := res.OtelTracer().(*Provider)
	if !ok {
		return nil
	}
	// The engine makes tracers before metrics: the first component that asks has them.
	p.counted.Do(func() {
		p.queue.count(meter.Counters(res.Metrics(), "weir_trace_spans_total", "result", resultSent, resultDropped,
			resultFailed))
	})
	return p
}

// Shutdown sends what is left, for some seconds at most.
func (p *Provider) Shutdown(ctx context.Context) error { return p.sdk.Shutdown(ctx) }

// chosen tells whether a request is traced. The ids of callers do not decide: they
// could choose them so.
func (p *Provider) chosen(asked bool) bool {
	return p.all || p.below > 0 && rand.Uint64() < p.below || asked && p.allow(time.Now().Unix())
}

// allow is true askedPerSecond times a second.
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

// described is what weir says of itself with its spans.
func described(version string) *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", "weir"), attribute.String("service.version", version))
}
