package flow

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // no tracer, no buffer
	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/meter"
)

// store is an output that answers as told, and nil after that.
type store struct {
	answers []error
	calls   int
}

func (s *store) Connect(context.Context) error { return nil }
func (s *store) Close(context.Context) error   { return nil }
func (s *store) WriteBatch(context.Context, service.MessageBatch) error {
	s.calls++
	if s.calls <= len(s.answers) {
		return s.answers[s.calls-1]
	}
	return nil
}

func hold(answers ...error) (*store, service.BatchOutput) {
	s := &store{answers: answers}
	res := service.MockResources()
	return s, Hold(s, "store", "weir_test_store_up", meter.Counter(res.Metrics(), "weir_test_store_failures_total"), res)
}

var errDown = errors.New("connection refused")

func TestFlow_ABatchIsHeldUntilTheStoreIsBack(t *testing.T) {
	s, out := hold(errDown, errDown, errDown)
	if err := out.WriteBatch(t.Context(), service.MessageBatch{service.NewMessage(nil)}); err != nil {
		t.Fatal(err)
	}
	if s.calls != 4 {
		t.Errorf("written %d times, want 4", s.calls)
	}
}

func TestFlow_WhatRetryingDoesNotHelpIsHandedBack(t *testing.T) {
	batch := service.MessageBatch{service.NewMessage(nil)}
	for _, answer := range []error{service.ErrNotConnected, service.NewBatchError(batch, errDown).Failed(0, errDown),
		HandBack(errDown)} {
		s, out := hold(answer, answer)
		if err := out.WriteBatch(t.Context(), batch); !errors.Is(err, answer) {
			t.Errorf("%v, want %v", err, answer)
		}
		if s.calls != 1 {
			t.Errorf("written %d times, want once", s.calls)
		}
	}
}

func TestFlow_AShutdownEndsTheWait(t *testing.T) {
	answers := make([]error, 100)
	for i := range answers {
		answers[i] = errDown
	}
	_, out := hold(answers...)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := out.WriteBatch(ctx, nil); !errors.Is(err, errDown) {
		t.Errorf("%v, want the store's error", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("ended %s after it began, want at once when the context ends", took)
	}
}

// tally is an exporter that keeps counters alone.
type tally struct {
	mu     sync.Mutex
	counts map[string]int64
}

type tallied struct {
	of   *tally
	name string
}

func (c tallied) Incr(n int64) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.counts[c.name] += n
}
func (tallied) Timing(int64) {}
func (tallied) Set(int64)    {}

func (e *tally) NewCounterCtor(name string, _ ...string) service.MetricsExporterCounterCtor {
	return func(...string) service.MetricsExporterCounter { return tallied{e, name} }
}
func (e *tally) NewTimerCtor(name string, _ ...string) service.MetricsExporterTimerCtor {
	return func(...string) service.MetricsExporterTimer { return tallied{e, name} }
}
func (e *tally) NewGaugeCtor(name string, _ ...string) service.MetricsExporterGaugeCtor {
	return func(...string) service.MetricsExporterGauge { return tallied{e, name} }
}
func (e *tally) Close(context.Context) error { return nil }

// Tries that a store failed are counted, though the batch is held: the engine sees
// one write that took long.
func TestFlow_EachTryThatFailedIsCounted(t *testing.T) {
	env, kept := service.NewEnvironment(), &tally{counts: map[string]int64{}}
	s := &store{answers: []error{errDown, errDown, errDown}}
	spec := service.NewConfigSpec().Field(service.NewBatchPolicyField("batching")).
		Field(service.NewIntField("max_in_flight").Default(1))
	err := errors.Join(Store{Name: "kept", Spec: spec, Batching: "batching", Is: "store", Up: "weir_test_store_up",
		Failures: "weir_test_store_failures_total",
		New:      func(*service.ParsedConfig, *service.Resources) (service.BatchOutput, error) { return s, nil },
	}.Register(env), env.RegisterMetricsExporter("tally", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Logger) (service.MetricsExporter, error) { return kept, nil }))
	if err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	send, err := b.AddProducerFunc()
	if err := errors.Join(err, b.AddOutputYAML("kept: {}"), b.SetMetricsYAML("tally: {}"),
		b.SetLoggerYAML("level: OFF")); err != nil {
		t.Fatal(err)
	}
	stream, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stream.Run(t.Context()) }()
	err = errors.Join(send(t.Context(), service.NewMessage(nil)), stream.StopWithin(time.Minute), <-ended)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if n, there := kept.counts["weir_test_store_failures_total"]; err != nil || !there || n != 3 || s.calls != 4 {
		t.Errorf("%v, %d failures of %d tries, want 3 of 4", err, n, s.calls)
	}
}
