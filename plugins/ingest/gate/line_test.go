package gate

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/plugins/ingest/gate/admission"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// stalled is a gate whose stream keeps the first batch until release.
func stalled(t *testing.T, conf string) (g *gate, entered <-chan struct{}, release func(), events *atomic.Int64) {
	in, out := make(chan struct{}), make(chan struct{})
	events = &atomic.Int64{}
	var once sync.Once
	release = sync.OnceFunc(func() { close(out) })
	g = loose(t, conf, func(batch service.MessageBatch) error {
		once.Do(func() { close(in) })
		<-out
		events.Add(int64(len(batch)))
		return nil
	})
	t.Cleanup(release)
	return g, in, release, events
}

func postTo(ctx context.Context, g *gate, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/v1/events", strings.NewReader(body)).WithContext(ctx)
	r.Header.Set("X-API-Key", "good")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func (g *gate) idle(t *testing.T) {
	t.Helper()
	if now := g.admit.InFlight(); now != (admission.Load{}) {
		t.Errorf("%+v stays in flight", now)
	}
	if n, _ := g.line.full(); n != 0 || g.line.events != 0 {
		t.Errorf("%d requests of %d events stay in the line", n, g.line.events)
	}
}

func TestGate_OneThatGivesUpInTheLineLeavesNothingBehind(t *testing.T) {
	g, entered, release, events := stalled(t, "timeouts: { ack: 400ms }")
	var clients sync.WaitGroup
	first := func() { postTo(t.Context(), g, goodEvent) }
	clients.Go(first)
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	clients.Go(func() {
		if w := postTo(ctx, g, goodEvent); w.Code != 503 || !strings.Contains(w.Body.String(), "client-gone") {
			t.Errorf("the client that has gone: %d %s", w.Code, w.Body)
		}
	})
	clients.Go(func() { // the stream takes nothing in
		if w := postTo(t.Context(), g, "["+goodEvent+","+goodEvent+"]"); w.Code != 503 || !strings.Contains(w.Body.String(),
			"log-unavailable") {
			t.Errorf("one that nobody takes: %d %s", w.Code, w.Body)
		}
	})
	time.Sleep(100 * time.Millisecond)
	cancel()
	clients.Wait()
	release()
	if w := postTo(t.Context(), g, goodEvent); w.Code != 202 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
	if n := events.Load(); n != 2 {
		t.Errorf("%d events went on: those of the first and the last are 2", n)
	}
	g.idle(t)
}

func TestGate_StoppingAnswersTheLine(t *testing.T) {
	g, entered, release, _ := stalled(t, "")
	var clients sync.WaitGroup
	clients.Go(func() {
		if w := postTo(t.Context(), g, goodEvent); w.Code != 202 {
			t.Errorf("what the stream has: %d %s", w.Code, w.Body)
		}
	})
	<-entered
	for range 5 {
		clients.Go(func() {
			if w := postTo(t.Context(), g, goodEvent); w.Code != 503 || !strings.Contains(w.Body.String(), stoppingName) {
				t.Errorf("what it has not: %d %s", w.Code, w.Body)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	g.drain()
	release()
	clients.Wait()
	g.idle(t)
}

func TestGate_ALoneRequestWaitsForNobody(t *testing.T) {
	g := loose(t, "gather: 1h", func(service.MessageBatch) error { return nil })
	start := time.Now()
	for range 3 {
		if w := postTo(t.Context(), g, goodEvent); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("three requests took %v", took)
	}
}

// Requests that are on their way at the same time are one batch, and one that
// is a batch of its own does not wait behind them.
func TestGate_GatheringEndsWhenABatchIsFullOrALargeOneComes(t *testing.T) {
	var mu sync.Mutex
	var sizes []int
	g := loose(t, "gather: 1h", func(batch service.MessageBatch) error {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, len(batch))
		return nil
	})
	many := func(n int) string { return "[" + strings.Repeat(goodEvent+",", n-1) + goodEvent + "]" }
	other, _ := g.admit.Enter("other") // somebody else is here, and may come
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() { postTo(t.Context(), g, many(50)) })
	}
	clients.Wait()
	clients.Go(func() { postTo(t.Context(), g, many(3)) })
	time.Sleep(100 * time.Millisecond)
	clients.Go(func() { postTo(t.Context(), g, many(60)) })
	clients.Wait()
	other.Release()
	if len(sizes) != 3 || sizes[0] != 100 || sizes[1]+sizes[2] != 63 {
		t.Errorf("batches of %v", sizes)
	}
	g.idle(t)
}

// Requests of all sizes come and give up at random times: each is answered, and
// nothing of them stays.
func TestGate_NobodyIsForgottenInTheLine(t *testing.T) {
	var events atomic.Int64
	g := loose(t, "gather: 1ms\nlimits: { max_in_flight_requests: 100000 }", func(batch service.MessageBatch) error {
		events.Add(int64(len(batch)))
		if events.Load()%7 == 0 {
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	body := func(n int) string { return "[" + strings.Repeat(goodEvent+",", n-1) + goodEvent + "]" }
	bodies := []string{body(1), body(2), body(49), body(50), body(51), body(100)}
	var accepted atomic.Int64
	var clients sync.WaitGroup
	for n := range 40 {
		clients.Go(func() {
			for i := range 60 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(n*7+i*13)%20)*500*time.Microsecond)
				start := time.Now()
				w := postTo(ctx, g, bodies[(n+i)%len(bodies)])
				cancel()
				if took := time.Since(start); took > 9*time.Second {
					t.Errorf("a request was answered after %v: %d", took, w.Code)
				}
				switch w.Code {
				case 202:
					accepted.Add(int64(strings.Count(w.Body.String(), `"status":202`)))
				case 503:
				default:
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	clients.Wait()
	if accepted.Load() != events.Load() || accepted.Load() == 0 {
		t.Errorf("%d events accepted, %d went on", accepted.Load(), events.Load())
	}
	g.idle(t)
}

// What waits goes on in batches of a bounded size, the oldest first, whatever is
// enough for nobody to wait for more.
func TestLine_WhatWaitsGoesOnInLargeBatches(t *testing.T) {
	l := newLine()
	var subs []*submission
	for range 12 {
		sub := &submission{batch: make(service.MessageBatch, smallEvents)}
		if subs = append(subs, sub); !l.join(sub) {
			t.Fatal("the line is closed")
		}
	}
	for _, want := range []int{mostEvents / smallEvents, 12 - mostEvents/smallEvents, 0} {
		select {
		case <-l.ready:
		default:
			if want > 0 {
				t.Error("nobody is told of what waits")
			}
		}
		if taken := l.take(); !slices.Equal(taken, subs[:want]) {
			t.Errorf("%d requests of %d events are taken, expected the oldest %d", len(taken), smallEvents, want)
		}
		subs = subs[want:]
	}
}
