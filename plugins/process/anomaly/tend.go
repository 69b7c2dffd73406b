package anomaly

import (
	"context"
	"errors"
	"time"

	"weir/internal/platform/live"
	"weir/internal/platform/meter"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	flushEvery    = 2 * time.Second
	evictEvery    = time.Minute
	baselineEvery = 10 * time.Minute
	erasuresEvery = 15 * time.Second
)

// tend does the work that is not part of an event: it reloads the rules, stores notes, forgets idle
// devices, honours erasures, and computes baselines once a day.
func (p *processor) tend(ctx context.Context) {
	following := make(chan struct{})
	go func() {
		defer close(following)
		live.Follow(ctx, p.reload, p.reload, false, p.refresh, p.tell)
	}()
	defer func() { <-following }()
	flush := time.NewTicker(flushEvery)
	evict, baseline := time.NewTicker(evictEvery), time.NewTimer(flushEvery)
	defer flush.Stop()
	defer evict.Stop()
	defer baseline.Stop()
	erasures := time.NewTicker(erasuresEvery)
	defer erasures.Stop()
	flushing := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			err := p.flush(ctx)
			if err != nil && flushing {
				p.log.Warnf("storing what devices learn is tried again: %v", err)
			}
			flushing = err == nil
		case <-evict.C:
			p.meters.evicted.Incr(int64(p.state.evict(p.now().Add(-p.idle).Unix())))
			p.meters.series.Set(p.state.series.Load())
		case <-erasures.C:
			if err := p.honour(ctx); err != nil && ctx.Err() == nil {
				p.log.Warnf("reading what is erased is tried again: %v", err)
			}
		case <-baseline.C:
			wait := baselineEvery
			if err := p.learn(ctx); err != nil && ctx.Err() == nil {
				p.log.Warnf("computing baselines is tried again: %v", err)
				p.meters.baselineFailures.Incr(1)
				wait = time.Minute
			}
			baseline.Reset(wait)
		}
	}
}

// flush stores the notes, unless the store failed a moment ago.
func (d *detector) flush(ctx context.Context) error {
	d.notes.mu.Lock()
	n := len(d.notes.list)
	d.notes.mu.Unlock()
	if n == 0 || d.stores.controlURL == "" {
		return nil
	}
	m, _, err := d.stores.open(ctx)
	if errors.Is(err, errPaused) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.notes.flush(ctx, *m)
}

// learn computes the baselines of the day if they are due, and makes devices load them.
func (d *detector) learn(ctx context.Context) error {
	if d.stores.controlURL == "" || d.stores.rollupsURL == "" {
		return nil
	}
	m, r, err := d.stores.open(ctx)
	if err != nil {
		return err
	}
	day, err := computeBaselines(ctx, *m, *r, d.now())
	if err != nil {
		return err
	}
	d.day.Store(day)
	return nil
}

// meters are the metrics of this package.
type meters struct {
	samples          *service.MetricCounter
	transitions      *service.MetricCounter
	skipped          *service.MetricCounter
	evicted          *service.MetricCounter
	loads            *service.MetricCounter
	baselineFailures *service.MetricCounter
	series           *service.MetricGauge
	rulesValid       *service.MetricGauge
}

func newMeters(res *service.Resources) meters {
	m := res.Metrics()
	out := meters{
		samples:     meter.Counter(m, "weir_anomaly_samples_total"),
		transitions: m.NewCounter("weir_anomaly_transitions_total", "detector", "transition"),
		skipped: meter.Counters(m, "weir_anomaly_skipped_total", "reason",
			"duplicate", "replay", "redelivered", "late", "erased"),
		evicted:          meter.Counter(m, "weir_anomaly_evicted_devices_total"),
		loads:            meter.Counters(m, "weir_anomaly_loads_total", "result", "ok", "failed"),
		baselineFailures: meter.Counter(m, "weir_anomaly_baseline_failures_total"),
		series:           meter.Gauge(m, "weir_anomaly_series"),
		rulesValid:       meter.Gauge(m, "weir_anomaly_rules_valid"),
	}
	for _, by := range []Detector{byThreshold, byZScore, byBaseline} {
		out.transitions.Incr(0, string(by), didOpen)
		out.transitions.Incr(0, string(by), didResolve)
	}
	out.rulesValid.Set(1)
	return out
}

// refresh applies the rules file if it has changed.
func (p *processor) refresh(ctx context.Context) error {
	changed, err := p.rules.Refresh(ctx)
	if changed {
		p.log.Infof("loaded %d rules from %s", len(p.rules.Get().Rules), p.rules.path)
	}
	return err
}

// tell logs once that the rules file is invalid, and once that it is valid again.
func (p *processor) tell(err error) {
	if err == nil {
		p.meters.rulesValid.Set(1)
		return
	}
	p.log.Errorf("keeping the old rules: %v", err)
	p.meters.rulesValid.Set(0)
}
