package trace

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// What becomes of spans.
const (
	resultSent    = "sent"    // the collector has them
	resultDropped = "dropped" // the queue was full: the collector is slower than they come
	resultFailed  = "failed"  // the collector refused them, or was away
)

// Bounds of the queue: some 8 MB of spans, and how many go in one request.
const (
	queueSpans   = 4096
	requestSpans = 512
	requestEvery = time.Second
	sendTimeout  = 30 * time.Second // with what the exporter tries again
	endTimeout   = 3 * time.Second  // of what is left when weir stops
)

// queue keeps spans for their collector, apart from the stages that made them: a
// stage waits for nothing, and what has no room is counted and gone.
type queue struct {
	exporter sdktrace.SpanExporter
	log      *service.Logger
	spans    chan sdktrace.ReadOnlySpan
	stop     chan struct{}      // closed to end the sender
	stopped  chan struct{}      // closed when it has ended
	cut      context.CancelFunc // ends a request on its way
	failing  bool               // the sender's own, until it has stopped

	ended   atomic.Bool
	lost    atomic.Int64 // spans that were dropped
	counter atomic.Pointer[service.MetricCounter]
}

func newQueue(exporter sdktrace.SpanExporter, log *service.Logger) *queue {
	ctx, cut := context.WithCancel(context.Background())
	q := &queue{exporter: exporter, log: log, spans: make(chan sdktrace.ReadOnlySpan, queueSpans),
		stop: make(chan struct{}), stopped: make(chan struct{}), cut: cut}
	go q.send(ctx)
	return q
}

func (q *queue) count(c *service.MetricCounter) { q.counter.Store(c) }

func (q *queue) add(n int, result string) {
	if c := q.counter.Load(); c != nil {
		c.Incr(int64(n), result)
	}
}

// OnStart implements sdktrace.SpanProcessor.
func (q *queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd takes a span that is over. It never waits.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !q.ended.Load() {
		select {
		case q.spans <- s:
			return
		default:
		}
	}
	q.lost.Add(1)
	q.add(1, resultDropped)
}

// ForceFlush implements sdktrace.SpanProcessor: spans leave by themselves.
func (q *queue) ForceFlush(context.Context) error { return nil }

// Shutdown sends what is left, if the collector takes it soon. It is called once.
func (q *queue) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	q.ended.Store(true)
	close(q.stop)
	select {
	case <-q.stopped:
	case <-ctx.Done():
	}
	q.cut()
	<-q.stopped
	for {
		batch := q.take(nil)
		if len(batch) == 0 {
			return q.exporter.Shutdown(ctx)
		}
		q.export(ctx, batch)
	}
}

func (q *queue) take(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	for len(batch) < requestSpans {
		select {
		case s := <-q.spans:
			batch = append(batch, s)
		default:
			return batch
		}
	}
	return batch
}

// send sends spans until it is stopped.
func (q *queue) send(ctx context.Context) {
	defer close(q.stopped)
	batch := make([]sdktrace.ReadOnlySpan, 0, requestSpans)
	tick := time.NewTicker(requestEvery)
	defer tick.Stop()
	for {
		select {
		case <-q.stop:
			return
		case <-tick.C:
		}
		for !q.ended.Load() {
			if batch = q.take(batch[:0]); len(batch) == 0 {
				break
			}
			q.export(ctx, batch)
			clear(batch)
		}
	}
}

// export sends a batch, or counts it as failed.
func (q *queue) export(ctx context.Context, batch []sdktrace.ReadOnlySpan) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := q.exporter.ExportSpans(ctx, batch)
	switch {
	case err == nil:
		q.add(len(batch), resultSent)
		if q.failing {
			q.log.Info("the collector of traces takes spans again")
		}
	default:
		q.add(len(batch), resultFailed)
		if !q.failing && !q.ended.Load() {
			q.log.Warnf("the collector of traces takes no spans, and they are lost until it does; nothing else waits for "+
				"it: check WEIR_OTLP_URL: %v", err)
		}
	}
	q.failing = err != nil
}
