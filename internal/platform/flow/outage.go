package flow

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/platform/trace"
)

const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
	remind     = 30 * time.Second // interval between log lines of one outage
)

// Hold wraps an output so that WriteBatch retries a batch while the store is down instead of failing it. The engine's
// inputs redeliver failed batches one small batch at a time, half a second or more apart: after an outage of four
// seconds, hundreds of batches took minutes, and everything newer waited behind them. A batch that is retried here is
// written whole as soon as the store is back, while newer records wait in the log.
//
// The output's WriteBatch must allow being called again with a failed batch. The metric is a gauge: 1 while the store
// accepts batches, else 0. failures counts failed attempts, which the engine does not see.
//
// WriteBatch returns nil when the output did, and without retrying the output's *service.BatchError,
// service.ErrNotConnected and errors marked by HandBack. When ctx ends first it returns the store's last error, and
// the engine redelivers the batch.
func Hold(out service.BatchOutput, store, metric string, failures *service.MetricCounter,
	res *service.Resources) service.BatchOutput {
	return &held{BatchOutput: out, store: store, log: res.Logger(), up: res.Metrics().NewGauge(metric),
		failures: failures, trace: trace.Of(res)}
}

// HandBack marks an error of an output that is not the store's fault: the batch is not retried but redelivered by the
// engine.
func HandBack(err error) error { return handedBack{err} }

type handedBack struct{ error }

func (b handedBack) Unwrap() error { return b.error }

type held struct {
	service.BatchOutput
	store    string // name in messages
	log      *service.Logger
	up       *service.MetricGauge
	failures *service.MetricCounter
	trace    *trace.Provider
}

func (h *held) Connect(ctx context.Context) error {
	err := h.BatchOutput.Connect(ctx)
	h.up.Set(1)
	if err != nil {
		h.up.Set(0)
	}
	return err
}

func (h *held) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	spans := h.trace.Batch("write to the "+h.store, batch)
	err := h.write(ctx, batch)
	spans.End(err)
	return err
}

func (h *held) write(ctx context.Context, batch service.MessageBatch) error {
	var began, said time.Time
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := h.BatchOutput.WriteBatch(ctx, batch)
		var some *service.BatchError
		if err == nil || errors.As(err, &some) {
			if !began.IsZero() {
				h.log.Infof("the %s is back after %s", h.store, time.Since(began).Round(time.Millisecond))
			}
			h.up.Set(1)
			return err
		}
		var back handedBack
		if errors.Is(err, service.ErrNotConnected) || errors.As(err, &back) {
			return err
		}
		h.up.Set(0)
		h.failures.Incr(1)
		if began.IsZero() {
			began = time.Now()
		}
		if ctx.Err() != nil {
			return err
		}
		if time.Since(said) >= remind {
			said = time.Now()
			h.log.Errorf("the %s takes nothing, %d messages wait for it: %v", h.store, len(batch), err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause/2)): // random, so that several processes do not retry together
		}
	}
}
