package trace

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Results of spans in metrics.
const (
	resultSent    = "sent"    // exported to the collector
	resultDropped = "dropped" // the queue was full: the collector is too slow
	resultFailed  = "failed"  // the collector refused them or was unreachable
)

// Limits of the queue (some 8 MB of spans) and of one export.
const (
	queueSpans   = 4096
	requestSpans = 512
	requestEvery = time.Second
	sendTimeout  = 30 * time.Second // includes the exporter's retries
	endTimeout   = 3 * time.Second  // for the remaining spans when weir stops
)

// queue buffers spans for the exporter, so that no stage waits for the collector. Spans that do not fit are counted
// and dropped.
type queue struct {
	exporter sdktrace.SpanExporter
	log      *service.Logger
	spans    chan sdktrace.ReadOnlySpan
	stop     chan struct{}      // closed to stop the sender
	stopped  chan struct{}      // closed when the sender has stopped
	cut      context.CancelFunc // cancels a running export
	failing  bool               // used only by the sender, until it has stopped

	ended   atomic.Bool
	lost    atomic.Int64 // number of dropped spans
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

// OnEnd queues a finished span. It never blocks.
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

// ForceFlush implements sdktrace.SpanProcessor and does nothing.
func (q *queue) ForceFlush(context.Context) error { return nil }

// Shutdown exports the remaining spans if the collector accepts them in time. It must be called once.
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

// send exports spans periodically until it is stopped.
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

// export sends a batch and counts its result. A failed batch is lost.
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
