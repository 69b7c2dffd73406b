package anomaly

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"weir/internal/event"
)

// keptAlerts bounds how many events' transitions are remembered of a partition: half of it is more
// than a batch has, should each of its events open an alert while the topic of alerts is down.
// log_input ends a batch at a megabyte where order matters, and no event is smaller than 120 bytes.
const keptAlerts = 1 << 15

// partition remembers how far the log was judged, so that an event changes the state once, however
// often it is delivered: a redelivered event gets the same transitions as the first time. A crash
// loses this together with the state that it protects.
type partition struct {
	mu       sync.Mutex
	high     int64    // the highest offset judged
	received string   // when the gate received that event
	epoch    uint32   // number of times that another process has judged in between
	alerts   []judged // by offset
}

// judged is the transitions of an event, as JSON.
type judged struct {
	offset int64
	alerts string
}

type partitionKey struct {
	topic     string
	partition int32
}

type partitions struct {
	mu   sync.Mutex
	list map[partitionKey]*partition
}

func (p *partitions) get(c event.Coordinates) *partition {
	key := partitionKey{c.Topic, c.Partition}
	p.mu.Lock()
	defer p.mu.Unlock()
	part := p.list[key]
	if part == nil {
		part = &partition{high: -1}
		p.list[key] = part
	}
	return part
}

// advance tells whether the record at an offset is new. After a gap in the offsets another process
// had the partition for a while, so that the state of its devices is out of date: epoch grows. A
// lower offset with a later time of receipt means that the topic was deleted and created again.
func (p *partition) advance(offset int64, received string) (epoch uint32, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case offset <= p.high && received <= p.received:
		return p.epoch, false
	case p.high >= 0 && offset != p.high+1:
		p.epoch++
		p.alerts = nil
	}
	p.high, p.received = offset, strings.Clone(received)
	return p.epoch, true
}

func (p *partition) remember(offset int64, alerts string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.alerts) >= keptAlerts {
		p.alerts = append(p.alerts[:0], p.alerts[keptAlerts/2:]...)
	}
	p.alerts = append(p.alerts, judged{offset, alerts})
}

// recall returns the transitions that an event had, or "".
func (p *partition) recall(offset int64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, found := slices.BinarySearchFunc(p.alerts, offset, func(j judged, at int64) int {
		return cmp.Compare(j.offset, at)
	})
	if !found {
		return ""
	}
	return p.alerts[i].alerts
}
