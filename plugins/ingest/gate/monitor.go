package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/platform/kafka"
)

// pressureConfig says which groups to measure, where.
type pressureConfig struct {
	cluster  kafka.Cluster
	topic    string
	groups   []string
	interval time.Duration
	limits   pressureLimits
}

// monitor measures the backlog in Kafka, and tells the admission.
type monitor struct {
	conf  pressureConfig
	admin *kadm.Client
	meter *lagMeter
	tails tails
	last  backlog
	tell  func(backlog)
	log   *service.Logger
	m     *metrics
	stop  chan struct{}
	done  sync.WaitGroup
}

func startMonitor(conf pressureConfig, tell func(backlog), log *service.Logger, m *metrics) (*monitor, error) {
	client, err := kgo.NewClient(conf.cluster.Options("weir-gate")...)
	if err != nil {
		return nil, fmt.Errorf("opening the measurement of the backlog: %w", err)
	}
	mon := &monitor{conf: conf, admin: kadm.NewClient(client), tell: tell, log: log, m: m, stop: make(chan struct{})}
	mon.done.Go(mon.run)
	return mon, nil
}

func (m *monitor) close() {
	close(m.stop)
	m.done.Wait()
	m.admin.Close()
}

// run measures until close. When Kafka cannot be asked, the last decision
// stands: a log that is down refuses events by itself.
func (m *monitor) run() {
	tick := time.NewTicker(m.conf.interval)
	defer tick.Stop()
	failing := false
	for {
		ctx, cancel := context.WithTimeout(context.Background(), max(5*time.Second, m.conf.interval))
		go func() {
			select {
			case <-m.stop:
				cancel()
			case <-ctx.Done():
			}
		}()
		r, err := m.measure(ctx, time.Now())
		cancel()
		switch {
		case err != nil && !failing:
			m.log.Warnf("The backlog cannot be measured, the last decision about it stands: %v", m.conf.cluster.Explain(err))
			failing = true
		case err == nil && failing:
			m.log.Infof("The backlog can be measured again")
			failing = false
		}
		if err != nil {
			m.m.backlogErrors.Incr(1)
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

func (m *monitor) apply(r reading) {
	before := m.last.state
	m.last = m.last.next(r, m.conf.limits)
	if now := m.last.state; now != before {
		m.log.Infof("Backlog: %s is %d events and %s behind, draining %.0f a second; the gate %s", r.group, r.records,
			r.age.Round(time.Second), r.drain, map[intake]string{flowing: "takes everything", pressed: "takes less than is drained", stopped: "takes nothing"}[now])
	}
	m.m.backlogRecords.Set(int64(r.records))
	m.m.backlogSeconds.Set(int64(r.age.Seconds()))
	m.m.drain.Set(int64(r.drain))
	m.m.flow.Set(int64(m.last.state))
	m.tell(m.last)
}

// measure asks where the log begins and ends, and how far each group is.
func (m *monitor) measure(ctx context.Context, now time.Time) (reading, error) {
	topic := m.conf.topic
	committed := make(map[string]offsets, len(m.conf.groups))
	for _, group := range m.conf.groups { // before the ends: a group is never ahead of the log
		got, err := m.admin.FetchOffsetsForTopics(ctx, group, topic)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // a group that never committed
			return reading{}, fmt.Errorf("reading the offsets of %s: %w", group, err)
		}
		at := offsets{}
		for p, o := range got[topic] {
			if o.Err != nil {
				return reading{}, fmt.Errorf("reading the offsets of %s: %w", group, o.Err)
			}
			at[p] = o.At // -1 when nothing is committed
		}
		committed[group] = at
	}
	starts, err := listed(m.admin.ListStartOffsets(ctx, topic))
	if err != nil {
		return reading{}, fmt.Errorf("reading the start of %s: %w", topic, err)
	}
	ends, err := listed(m.admin.ListEndOffsets(ctx, topic))
	if err != nil {
		return reading{}, fmt.Errorf("reading the end of %s: %w", topic, err)
	}
	if m.tails == nil {
		m.tails = tails{}
	}
	for group, at := range committed {
		if err := m.tails.pass(ctx, m.conf.cluster, now, topic, group, starts, ends, at); err != nil {
			return reading{}, fmt.Errorf("looking at what group %s has not come to: %w", group, err)
		}
	}
	if m.meter == nil {
		meter := newLagMeter(m.conf.limits)
		for _, part := range []float64{1, 0.75, 0.5, 0.25, 0.1} {
			at := now.Add(-time.Duration(part * float64(m.conf.limits.horizon())))
			was, err := listed(m.admin.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topic))
			if err != nil {
				return reading{}, fmt.Errorf("reading where %s ended at %s: %w", topic, at.UTC().Format(time.RFC3339), err)
			}
			meter.seed(at, was)
		}
		m.meter = meter
	}
	return m.meter.read(now, starts, ends, committed), nil
}

func listed(l kadm.ListedOffsets, err error) (offsets, error) {
	if err == nil {
		err = l.Error()
	}
	if err != nil {
		return nil, err
	}
	out := offsets{}
	l.Each(func(o kadm.ListedOffset) { out[o.Partition] = o.Offset })
	return out, nil
}
