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
	remind     = 30 * time.Second // how often an outage that lasts is logged
)

// Hold keeps a batch while its store is down, instead of handing it back.
// What an output hands back, the engine's inputs deliver again, one of their
// small batches after the other with half a second and more between them. After
// an outage of four seconds hundreds of batches came back so, for minutes, and
// everything newer waited behind them. A batch that is held is written whole as
// soon as the store is back; what comes meanwhile waits in the log.
//
// It wraps an output whose WriteBatch may be called again with a batch that
// it failed. The metric is a gauge: 1 while the store takes batches, 0 while it
// does not; failures counts the tries that failed, which the engine does not see.
//
// WriteBatch returns nil when the output did; the output's *service.BatchError,
// service.ErrNotConnected and what HandBack made, which retrying does not help; and the
// store's last error when the context ended first: then the batch is handed back.
func Hold(out service.BatchOutput, store, metric string, failures *service.MetricCounter,
	res *service.Resources) service.BatchOutput {
	return &held{BatchOutput: out, store: store, log: res.Logger(), up: res.Metrics().NewGauge(metric),
		failures: failures, trace: trace.Of(res)}
}

// HandBack marks an output's error that is not the store's: the batch goes back to who
// delivered it, and comes again.
func HandBack(err error) error { return handedBack{err} }

type handedBack struct{ error }

func (b handedBack) Unwrap() error { return b.error }

type held struct {
	service.BatchOutput
	store    string // for people
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
		case <-time.After(pause/2 + rand.N(pause/2)): // several processes come back at different moments
		}
	}
}
