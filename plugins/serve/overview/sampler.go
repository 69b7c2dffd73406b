// Package overview shows at a glance whether the promise holds: the equation of all records, the last proof, rates,
// lags, stores and processes. It reads only durable sources - the log's offsets, what the stores record, and the rows
// that processes write - so that a crash changes none of its numbers. It caches its samples in memory for all
// viewers.
package overview

import (
	"context"
	"maps"
	"sync"
	"time"

	"weir/internal/control/status"
	"weir/internal/event"
	"weir/internal/platform/kafka"
	"weir/internal/platform/live"
	"weir/plugins/operate/reconcile"
	"weir/plugins/store/lake"
)

// Sources are where the parts of an overview come from. Parts with a nil source are reported as unknown.
type Sources struct {
	Log             kafka.Cluster
	Events          event.Log   // the event log; telemetry if it has no name
	Raw, DeadLetter *lake.Store // of that log
	Proofs          *reconcile.Proofs
	Status          *status.Store
	Places          []Place
	// Devices and Alerts return the counts of a fleet, or of all when fleet is "".
	Devices func(ctx context.Context, fleet string) (Devices, error)
	Alerts  func(ctx context.Context, fleet string) (Alerts, error)
}

// Sampler samples its sources on demand, once for all viewers.
type Sampler struct {
	sources  Sources
	life     context.Context
	end      context.CancelFunc
	balance  *balance
	meter    *logMeter
	equation *live.Asked[*reconcile.Report]
	log      *live.Asked[logState]
	proof    *live.Asked[*reconcile.Proof]
	rows     *live.Asked[[]status.Row]
	stores   *live.Asked[[]looked]

	mu     sync.Mutex
	fleets map[string]*fleetParts
}

// fleetParts are the counts of one fleet, or of all for "".
type fleetParts struct {
	devices *live.Asked[Devices]
	alerts  *live.Asked[Alerts]
	used    time.Time
}

// fleetsMost is how many fleets' counts are cached.
const fleetsMost = 100

// NewSampler returns a Sampler. It queries nothing yet.
func NewSampler(s Sources) (*Sampler, error) {
	life, end := context.WithCancel(context.Background())
	disks := &filling{}
	m := &Sampler{sources: s, life: life, end: end, fleets: map[string]*fleetParts{},
		stores: &live.Asked[[]looked]{Every: 5 * time.Second, Most: 2 * storeMost,
			Ask: func(ctx context.Context) ([]looked, error) { return look(ctx, s.Places, disks), nil }},
	}
	if s.Status != nil {
		m.rows = &live.Asked[[]status.Row]{Every: time.Second, Most: 5 * time.Second, Ask: s.Status.List}
	}
	if s.Proofs != nil {
		m.proof = &live.Asked[*reconcile.Proof]{Every: 2 * time.Second, Most: 5 * time.Second, Ask: s.Proofs.Last}
	}
	if !s.Log.Named() {
		return m, nil
	}
	log := s.Events
	var err error
	if log.Name == "" {
		if log, err = event.LogOf(""); err != nil {
			end()
			return nil, err
		}
	}
	conf := reconcile.Config{Log: s.Log, ClientID: "weir-overview", Raw: s.Raw, DeadLetter: s.DeadLetter,
		Topics: log.Topics, RawGroup: log.GroupRaw(), DeadLetterTopic: log.DeadLetters,
		DeadLetterGroup: log.GroupDeadLetter}
	if m.meter, err = newLogMeter(s.Log, log); err != nil {
		end()
		return nil, err
	}
	m.log = &live.Asked[logState]{Every: time.Second, Most: 10 * time.Second, Ask: m.meter.measure}
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
	m.equation = &live.Asked[*reconcile.Report]{Every: time.Second, Most: 2 * time.Minute, Ask: m.balance.weigh}
	return m, nil
}

// Close cancels running queries and closes the connections to the log.
func (m *Sampler) Close() {
	m.end()
	if m.log != nil {
		m.log.Stop()
		m.meter.close()
	}
	if m.equation != nil {
		m.equation.Stop()
		m.balance.reconciler.Close()
	}
}

// of returns the cached parts of a fleet, creating them if needed.
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
			f.devices = &live.Asked[Devices]{Every: 5 * time.Second, Most: 20 * time.Second,
				Ask: func(ctx context.Context) (Devices, error) { return ask(ctx, fleet) }}
		}
		if ask := m.sources.Alerts; ask != nil {
			f.alerts = &live.Asked[Alerts]{Every: 5 * time.Second, Most: 5 * time.Second,
				Ask: func(ctx context.Context) (Alerts, error) { return ask(ctx, fleet) }}
		}
		m.fleets[fleet] = f
	}
	f.used = time.Now()
	return f
}

// refresh queries all parts that are due and waits for them as long as ctx allows. Later answers are used by later
// calls.
func (m *Sampler) refresh(ctx context.Context, fleet string) {
	var all sync.WaitGroup
	if m.rows != nil {
		all.Go(func() { m.rows.Refresh(ctx, m.life) })
	}
	if m.proof != nil {
		all.Go(func() { m.proof.Refresh(ctx, m.life) })
	}
	if m.log != nil {
		all.Go(func() { m.log.Refresh(ctx, m.life) })
	}
	if fleet == "" {
		all.Go(func() { m.stores.Refresh(ctx, m.life) })
		if m.equation != nil {
			all.Go(func() { m.equation.Refresh(ctx, m.life) })
		}
	}
	f := m.of(fleet)
	if f.devices != nil {
		all.Go(func() { f.devices.Refresh(ctx, m.life) })
	}
	if f.alerts != nil {
		all.Go(func() { f.alerts.Refresh(ctx, m.life) })
	}
	all.Wait()
}
