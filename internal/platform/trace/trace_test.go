package trace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// kept is a collector that keeps what it is sent, refuses it, or does not answer.
type kept struct {
	mu     sync.Mutex
	spans  []sdktrace.ReadOnlySpan
	refuse error
	stuck  chan struct{} // nil: it is not
	asked  chan struct{} // told, if somebody listens, that it was asked
}

func (k *kept) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	select {
	case k.asked <- struct{}{}:
	default:
	}
	if k.stuck != nil {
		select {
		case <-k.stuck:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse == nil {
		k.spans = append(k.spans, spans...)
	}
	return k.refuse
}

func (k *kept) Shutdown(context.Context) error { return nil }

func (k *kept) named(t *testing.T, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.spans {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("no span %q among %d", name, len(k.spans))
	return nil
}

func provider(t testing.TB, ratio float64, to *kept) *Provider {
	t.Helper()
	p := New(Options{Ratio: ratio, Exporter: to, Log: service.MockResources().Logger()})
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return p
}

func batchOf(parents ...string) (batch service.MessageBatch) {
	for _, parent := range parents {
		msg := service.NewMessage([]byte(`{"device_id":"pump-1"}`))
		if parent != "" {
			msg.MetaSetMut(Header, parent)
		}
		batch = append(batch, msg)
	}
	return batch
}

const followed = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceparent_OnlyWellFormedOnesCount(t *testing.T) {
	for text, valid := range map[string]bool{
		followed: true, strings.TrimSuffix(followed, "1") + "0": true, "": false, followed + "0": false,
		strings.Replace(followed, "00-", "01-", 1): false, strings.ToUpper(followed): false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false,
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
	} {
		if got := Valid(text); (got == text && text != "") != valid {
			t.Errorf("%q: got %q", text, got)
		}
	}
	for flags, is := range map[string]bool{"00": false, "01": true, "02": false, "03": true, "0a": false, "0b": true,
		"ff": true, "fe": false} {
		if got := sampled(followed[:flagsStart] + flags); got != is {
			t.Errorf("flags %s: sampled %v", flags, got)
		}
	}
}

// One that is nil traces nothing, and changes nothing.
func TestProvider_NoneIsNothing(t *testing.T) {
	var p *Provider
	span, parent := p.Begin("POST", followed, "id")
	span.End(202, 1, 0)
	if parent != followed || span != nil {
		t.Errorf("the caller's traceparent is %q", parent)
	}
	batch := batchOf(followed)
	p.Receive("a", batch).End(nil)
	p.Batch("b", batch).End(errors.New("x"))
	if v, _ := batch[0].MetaGet(Header); v != followed {
		t.Errorf("its message says %q", v)
	}
	if Of(service.MockResources()) != nil {
		t.Error("resources without a tracer have one")
	}
}

// A request, what the log's readers do with its events, and a store, are one trace.
func TestProvider_ARequestIsOneTrace(t *testing.T) {
	to := &kept{}
	p := provider(t, 1, to)
	id := NewID()
	request, parent := p.Begin("POST", "", id)
	batch := batchOf(parent, "", parent, strings.TrimSuffix(followed, "1")+"0", "nonsense")
	received := p.Receive("group", batch)
	p.Batch("dedupe", batch).End(nil)
	p.Batch("store", batch).End(errors.New("pump-1 is not stored"))
	received.End(nil)
	request.End(207, 5, 1)
	_ = p.Shutdown(context.Background())

	root := to.named(t, "POST")
	if got := root.SpanContext().TraceID().String(); got != id || root.Parent().IsValid() {
		t.Errorf("the trace of request %s is %s, below %v", id, got, root.Parent().SpanID())
	}
	for name, above := range map[string]string{"group": "POST", "dedupe": "group", "store": "group"} {
		s := to.named(t, name)
		if s.SpanContext().TraceID() != root.SpanContext().TraceID() ||
			s.Parent().SpanID() != to.named(t, above).SpanContext().SpanID() {
			t.Errorf("%s is not below %s", name, above)
		}
		if text := fmt.Sprint(s.Attributes(), s.Status(), s.Events()); strings.Contains(text, "pump-1") ||
			!strings.Contains(text, "{messaging.batch.message_count 2}") {
			t.Errorf("%s says %s", name, text)
		}
	}
	if len(to.spans) != 4 {
		t.Errorf("%d spans", len(to.spans))
	}
	if v, _ := batch[3].MetaGet(Header); !strings.HasSuffix(v, "-00") {
		t.Errorf("a trace that nobody follows is %q", v)
	}
}

// A store that takes windows has one span for each trace of their events.
func TestProvider_AMessageMayStandForMany(t *testing.T) {
	to := &kept{}
	p := provider(t, 1, to)
	_, one := p.Begin("POST", "", "a")
	_, other := p.Begin("POST", "", "b")
	windows := batchOf("", "")
	windows[0].MetaSetMut(Header, p.ParentsOf(batchOf(one, other, one)))
	p.Batch("rollups", windows).End(nil)
	_ = p.Shutdown(context.Background())
	if len(to.spans) != 2 {
		t.Errorf("%d spans", len(to.spans))
	}
}

// What the gate does not choose makes no spans further on, whatever its client says.
func TestProvider_TheRatioAndTheWishesAreBounds(t *testing.T) {
	p := provider(t, 0.1, &kept{})
	const requests = 20_000
	chosen := 0
	for range requests {
		if _, parent := p.Begin("POST", "", NewID()); parent != "" {
			chosen++
		}
	}
	if chosen < requests/10*8/10 || chosen > requests/10*12/10 { // five sigmas are 212
		t.Errorf("%d of %d are traced", chosen, requests)
	}
	none := provider(t, 0, &kept{})
	granted := 0
	for range 1000 {
		if none.allow(1_800_000_000) {
			granted++
		}
	}
	if granted != askedPerSecond || !none.allow(1_800_000_001) {
		t.Errorf("%d wishes a second are granted", granted)
	}
	none.askedIn.Store(time.Now().Add(time.Hour).Unix()<<8 | askedPerSecond)
	for range 2 * askedPerSecond { // at most one clock tick's worth is granted
		_, parent := none.Begin("POST", followed, "id")
		if !sampled(parent) && parent != followed[:flagsStart]+"00" {
			t.Fatalf("not traced, and its events say %q", parent)
		}
	}
}

// A collector that does not answer holds up nobody; what it is not given is counted.
func TestQueue_NothingWaitsForTheCollector(t *testing.T) {
	to := &kept{stuck: make(chan struct{}), asked: make(chan struct{}, 1)}
	p := provider(t, 1, to)
	end := func() {
		s, _ := p.Begin("POST", "", "id")
		s.End(202, 1, 0)
	}
	end()
	<-to.asked // it has taken that one and does not answer
	for range queueSpans + 10 {
		end()
	}
	if n := len(p.queue.spans); n != queueSpans {
		t.Errorf("%d spans wait", n)
	}
	if got := p.queue.lost.Load(); got != 10 {
		t.Errorf("%d are counted as dropped", got)
	}
	close(to.stuck)
	if err := p.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	end() // after the end: it waits for nothing
}

// The engine's own spans are none: there would be one for each message.
func TestProvider_TheEngineMakesNoSpans(t *testing.T) {
	to := &kept{}
	p := provider(t, 1, to)
	tracer, plain := p.Tracer("redpanda-connect"), context.Background()
	ctx, span := tracer.Start(plain, "input")
	span.End()
	if ctx != plain {
		t.Error("it makes a context for what it does not make")
	}
	other := sdktrace.NewTracerProvider()
	began, running := other.Tracer("other").Start(plain, "of somebody else")
	_, child := tracer.Start(began, "input")
	if child.End(); !running.IsRecording() {
		t.Error("it ends what is somebody else's")
	}
	_ = p.Shutdown(context.Background())
	if len(to.spans) != 0 || span.IsRecording() {
		t.Error("it makes one")
	}
	var _ oteltrace.TracerProvider = p
}

// BenchmarkTracing is what one event pays at the gate, the log's reader and four
// stages, in requests of ten and batches of a thousand: without tracing, at one
// percent, and of all requests, and how much that is of the 50 µs that an event takes
// in whole (tests/bench).
func BenchmarkTracing(b *testing.B) {
	for name, p := range map[string]*Provider{"off": nil, "1percent": provider(b, 0.01, &kept{refuse: errors.New("no")}),
		"all": provider(b, 1, &kept{refuse: errors.New("no")})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				traced(p)
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / 1000
			b.ReportMetric(each, "ns/event")
			b.ReportMetric(each/500, "%-of-an-event")
		})
	}
}
