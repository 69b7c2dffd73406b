package consumer

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir/internal/platform/kafka"
)

// lagEvery is how often the lag is measured.
const lagEvery = 5 * time.Second

// lagMeter tells how far the group is behind in every partition: those of other
// members, too, and those that nobody has. It is for one goroutine.
type lagMeter struct {
	group  string
	topics []string
	at     kafka.Positions
	set    func(records int64, topicAndPartition ...string)
	log    *service.Logger
	appear func()          // a topic is there that was not
	absent map[string]bool // topics that are not there
}

// run measures until the context ends.
func (m *lagMeter) run(ctx context.Context) {
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		if err := m.measure(ctx); err != nil && ctx.Err() == nil {
			m.log.Debugf("measuring the lag of group %s: %v", m.group, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// measure asks once. What cannot be read of a topic hides no other.
func (m *lagMeter) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lagEvery)
	defer cancel()
	committed, err := m.at.Committed(ctx, m.group)
	if err != nil {
		return err
	}
	var failed []error
	for _, topic := range m.topics {
		ends, err := m.at.Ends(ctx, topic)
		m.note(topic, err)
		var starts map[kafka.Partition]int64
		for p := range ends {
			if _, has := committed[p]; !has && starts == nil && err == nil {
				starts, err = m.at.Starts(ctx, topic)
			}
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for p, end := range ends {
			from, has := committed[p]
			if !has {
				from = starts[p]
			}
			m.set(max(end-from, 0), p.Topic, strconv.Itoa(int(p.Number)))
		}
	}
	return errors.Join(failed...)
}

// note says that a topic is not there, once; the client waits for it in silence.
func (m *lagMeter) note(topic string, err error) {
	absent := errors.Is(err, kerr.UnknownTopicOrPartition)
	switch {
	case absent && !m.absent[topic]:
		m.log.Warnf("reading topic %s as group %s: it is not there: waiting for it (weir topics create)", topic, m.group)
	case err == nil && m.absent[topic]:
		m.log.Infof("topic %s is there", topic)
		m.appear()
	}
	if absent || err == nil {
		m.absent[topic] = absent
	}
}
