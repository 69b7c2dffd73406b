package admission

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
	"weir/internal/platform/meter"
)

// Measurement configures which groups to measure, and where.
type Measurement struct {
	Cluster  kafka.Cluster
	Topic    string
	Groups   []string
	Batching map[string]time.Duration // how long a group's store gathers a batch, if its commits do not tell
	Interval time.Duration
	Bounds   Bounds
}

// Monitor measures the backlog in Kafka and passes it to the admission.
type Monitor struct {
	conf  Measurement
	admin *kadm.Client
	meter *lagMeter
	tails tails
	last  Backlog
	tell  func(Backlog)
	log   *service.Logger
	m     gauges
	stop  chan struct{}
	done  sync.WaitGroup
}

// gauges are the metrics of what was measured.
type gauges struct {
	errors  *service.MetricCounter
	records *service.MetricGauge // of the group furthest behind
	seconds *service.MetricGauge
	drain   *service.MetricGauge // records a second of that group
	each    *service.MetricGauge // records, of each group
	behind  *service.MetricGauge // seconds above what batching holds, of each group
	flow    *service.MetricGauge // 0 takes everything, 1 less than is drained, 2 nothing
}

func newGauges(m *service.Metrics, groups ...string) gauges {
	return gauges{
		errors:  meter.Counter(m, "weir_gate_backlog_errors_total"),
		records: meter.Gauge(m, "weir_gate_backlog_records"),
		seconds: meter.Gauge(m, "weir_gate_backlog_seconds"),
		drain:   meter.Gauge(m, "weir_gate_drain_records_per_second"),
		each:    meter.Gauges(m, "weir_gate_group_backlog_records", "group", groups...),
		behind:  meter.Gauges(m, "weir_gate_group_behind_seconds", "group", groups...),
		flow:    meter.Gauge(m, "weir_gate_flow_state"),
	}
}

// StartMonitor measures until Close, and passes each result to tell.
func StartMonitor(conf Measurement, tell func(Backlog), log *service.Logger, m *service.Metrics) (*Monitor, error) {
	client, err := kgo.NewClient(conf.Cluster.Options("weir-gate")...)
	if err != nil {
		return nil, fmt.Errorf("opening the measurement of the backlog: %w", err)
	}
	mon := &Monitor{conf: conf, admin: kadm.NewClient(client), tell: tell, log: log, m: newGauges(m, conf.Groups...),
		stop: make(chan struct{})}
	mon.done.Go(mon.run)
	return mon, nil
}

// Close stops measuring.
func (m *Monitor) Close() {
	close(m.stop)
	m.done.Wait()
	m.admin.Close()
}

// run measures until Close. When Kafka does not answer, the last decision stays in force: a log
// that is down refuses events by itself.
func (m *Monitor) run() {
	tick := time.NewTicker(m.conf.Interval)
	defer tick.Stop()
	failing := false
	for {
		ctx, cancel := context.WithTimeout(context.Background(), max(5*time.Second, m.conf.Interval))
		go func() {
			select {
			case <-m.stop:
				cancel()
			case <-ctx.Done():
			}
		}()
		r, err := m.measure(ctx, time.Now())
		cancel()
		select {
		case <-m.stop: // whatever it found: Close ended it
			return
		default:
		}
		switch {
		case err != nil && !failing:
			m.log.Warnf("the backlog cannot be measured, the last decision about it stands: %v", m.conf.Cluster.Explain(err))
			failing = true
		case err == nil && failing:
			m.log.Infof("the backlog can be measured again")
			failing = false
		}
		if err != nil {
			m.m.errors.Incr(1)
		} else {
			m.apply(r)
		}
		select {
		case <-tick.C:
		case <-m.stop:
			return
		}
	}
}

func (m *Monitor) apply(r reading) {
	before := m.last.state
	m.last = m.last.next(r, m.conf.Bounds)
	if now := m.last.state; now != before {
		m.log.Infof("backlog: %s is %d events and %s behind, draining %.0f a second; the gate %s", r.group, r.records,
			r.age.Round(time.Second), r.drain, map[intake]string{flowing: "takes everything",
				pressed: "takes less than is drained", stopped: "takes nothing"}[now])
	}
	for group, own := range m.meter.latest {
		m.m.each.Set(int64(own.records), group)
		m.m.behind.SetFloat64(own.behind.Seconds(), group)
	}
	m.m.records.Set(int64(r.records))
	m.m.seconds.Set(int64(r.age.Seconds()))
	m.m.drain.Set(int64(r.drain))
	m.m.flow.Set(int64(m.last.state))
	m.tell(m.last)
}

// measure reads the beginnings and ends of the log's partitions, and the positions of the groups.
func (m *Monitor) measure(ctx context.Context, now time.Time) (reading, error) {
	topic, positions := m.conf.Topic, kafka.Positions{Admin: m.admin}
	commits := make(map[string]map[kafka.Partition]kafka.Commit, len(m.conf.Groups))
	committed := make(map[string]offsets, len(m.conf.Groups))
	for _, group := range m.conf.Groups { // before the ends, so that no group is ahead of the log
		got, err := positions.Commits(ctx, group)
		if err != nil {
			return reading{}, err
		}
		commits[group], committed[group] = got, make(offsets, len(got))
		for p, c := range got {
			committed[group][p] = c.Offset
		}
	}
	starts, err := positions.Starts(ctx, topic)
	if err != nil {
		return reading{}, err
	}
	ends, err := positions.Ends(ctx, topic)
	if err != nil {
		return reading{}, err
	}
	if m.tails == nil {
		m.tails = tails{}
	}
	for group, at := range committed {
		if err := m.tails.pass(ctx, m.conf.Cluster, now, group, starts, ends, at); err != nil {
			return reading{}, fmt.Errorf("looking at what group %s has not come to: %w", group, err)
		}
	}
	if m.meter == nil {
		meter := newLagMeter(m.conf.Bounds)
		if err := meter.history.Seed(ctx, now, positions, topic); err != nil {
			return reading{}, err
		}
		m.meter = meter
	}
	m.meter.holds = func(group string, p kafka.Partition) time.Duration {
		if c := commits[group][p]; c.Says { // the commit tells it, whatever this process's settings are
			return c.Period
		}
		return m.conf.Batching[group]
	}
	return m.meter.read(now, starts, ends, committed), nil
}
