// Package overview tells at a glance whether the promise holds: the equation of
// all records, the last proof, rates, lags, stores and processes. It reads what
// is durable - the log's offsets, what the stores say of themselves, and the rows
// that processes write - so that a crash changes none of its numbers. What it
// has asked it keeps in memory, for all who look.
package overview

import (
	"context"
	"maps"
	"sync"
	"time"

	"weir/internal/control/status"
	"weir/internal/platform/kafka"
	"weir/plugins/operate/reconcile"
	"weir/plugins/store/lake"
)

// Sources are where the parts of an overview come from. What is nil is not
// known, and is said to be.
type Sources struct {
	Log             kafka.Cluster
	Raw, DeadLetter *lake.Store
	Proofs          *reconcile.Proofs
	Status          *status.Store
	Places          []Place
	// Devices and Alerts count those of a fleet, "" for all.
	Devices func(ctx context.Context, fleet string) (Devices, error)
	Alerts  func(ctx context.Context, fleet string) (Alerts, error)
}

// Sampler samples the sources when somebody looks, once for all who do.
type Sampler struct {
	sources  Sources
	life     context.Context
	end      context.CancelFunc
	balance  *balance
	meter    *logMeter
	equation *part[*reconcile.Report]
	log      *part[logState]
	proof    *part[*reconcile.Proof]
	rows     *part[[]status.Row]
	stores   *part[[]looked]

	mu     sync.Mutex
	fleets map[string]*fleetParts
}

// fleetParts are counted for one fleet, "" for all.
type fleetParts struct {
	devices *part[Devices]
	alerts  *part[Alerts]
	used    time.Time
}

// fleetsMost bounds the fleets whose counts are kept: the others are counted
// again when somebody looks.
const fleetsMost = 100

// NewSampler makes one. It asks nobody yet.
func NewSampler(s Sources) (*Sampler, error) {
	life, end := context.WithCancel(context.Background())
	m := &Sampler{sources: s, life: life, end: end, fleets: map[string]*fleetParts{},
		rows: &part[[]status.Row]{every: time.Second, most: 5 * time.Second, ask: s.Status.List},
		proof: &part[*reconcile.Proof]{every: 2 * time.Second, most: 5 * time.Second,
			ask: s.Proofs.Last},
		stores: &part[[]looked]{every: 5 * time.Second, most: 2 * storeMost,
			ask: func(ctx context.Context) ([]looked, error) { return look(ctx, s.Places), nil }},
	}
	if !s.Log.Named() {
		return m, nil
	}
	conf := reconcile.Config{Log: s.Log, ClientID: "weir-overview", Raw: s.Raw, DeadLetter: s.DeadLetter}.Defaults()
	var err error
	if m.meter, err = newLogMeter(s.Log, conf.Topics, conf.DeadLetterTopic); err != nil {
		end()
		return nil, err
	}
	m.log = &part[logState]{every: time.Second, most: 10 * time.Second, ask: m.meter.measure}
	if s.Raw == nil || s.DeadLetter == nil {
		return m, nil
	}
	reconciler, err := reconcile.New(conf)
	if err != nil {
		m.meter.close()
		end()
		return nil, err
	}
	m.balance = &balance{reconciler: reconciler}
	m.equation = &part[*reconcile.Report]{every: time.Second, most: 2 * time.Minute, ask: m.balance.weigh}
	return m, nil
}

// Close ends what is under way, and the connections to the log.
func (m *Sampler) Close() {
	m.end()
	settle := func(running chan struct{}) {
		if running != nil {
			<-running
		}
	}
	if m.log != nil {
		settle(m.log.under())
		m.meter.close()
	}
	if m.equation != nil {
		settle(m.equation.under())
		m.balance.reconciler.Close()
	}
}

// under is the question under way, nil when there is none.
func (p *part[T]) under() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = time.Now().Add(time.Hour) // ask no more
	return p.running
}

// of returns the parts of a fleet.
func (m *Sampler) of(fleet string) *fleetParts {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.fleets[fleet]
	if f == nil {
		if len(m.fleets) >= fleetsMost {
			maps.DeleteFunc(m.fleets, func(_ string, f *fleetParts) bool { return time.Since(f.used) > time.Minute })
		}
		if len(m.fleets) >= fleetsMost {
			clear(m.fleets)
		}
		f = &fleetParts{}
		if ask := m.sources.Devices; ask != nil {
			f.devices = &part[Devices]{every: 5 * time.Second, most: 20 * time.Second,
				ask: func(ctx context.Context) (Devices, error) { return ask(ctx, fleet) }}
		}
		if ask := m.sources.Alerts; ask != nil {
			f.alerts = &part[Alerts]{every: 5 * time.Second, most: 5 * time.Second,
				ask: func(ctx context.Context) (Alerts, error) { return ask(ctx, fleet) }}
		}
		m.fleets[fleet] = f
	}
	f.used = time.Now()
	return f
}

// refresh asks all parts that are due, and waits for them as long as the context
// allows: what has not answered by then comes with a later one.
func (m *Sampler) refresh(ctx context.Context, fleet string) {
	var all sync.WaitGroup
	all.Go(func() { m.rows.refresh(ctx, m.life) })
	all.Go(func() { m.proof.refresh(ctx, m.life) })
	if m.log != nil {
		all.Go(func() { m.log.refresh(ctx, m.life) })
	}
	if fleet == "" {
		all.Go(func() { m.stores.refresh(ctx, m.life) })
		if m.equation != nil {
			all.Go(func() { m.equation.refresh(ctx, m.life) })
		}
	}
	f := m.of(fleet)
	if f.devices != nil {
		all.Go(func() { f.devices.refresh(ctx, m.life) })
	}
	if f.alerts != nil {
		all.Go(func() { f.alerts.refresh(ctx, m.life) })
	}
	all.Wait()
}
