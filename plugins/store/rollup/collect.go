package rollup

import (
	"strings"
	"time"

	"weir/internal/event"
)

// Collector groups events into windows. The strings of its windows share the memory of the
// events. It is not safe for concurrent use.
type Collector struct {
	index    map[Key]*Window
	windows  []*Window
	slab     []Window
	readings []reading
}

// NewCollector returns a collector with room for about n events.
func NewCollector(n int) *Collector {
	return &Collector{index: make(map[Key]*Window, n), windows: make([]*Window, 0, n)}
}

// Add puts the readings of one event into the window of `at`, the time at which it counts. It
// leaves out metrics that are named in unknown (comma-separated) or that not every database
// can store, and returns how many those are. received is the header with the time at which
// the event was received. An event without any metric left still counts in the ledger.
func (c *Collector) Add(fleet string, e *event.Event, at time.Time, unknown, received string,
	replayed bool) (skipped int) {
	w := c.window(Key{fleet, e.Device, minuteOf(at)})
	if n := len(e.Metrics); cap(c.readings)-len(c.readings) < n {
		c.readings = make([]reading, 0, max(1024, n))
	}
	lo := len(c.readings)
	for i := range e.Metrics {
		m := &e.Metrics[i]
		if unknown != "" && event.HasFlag(unknown, m.Name) || !storable(m.Name) {
			skipped++
			continue
		}
		c.readings = append(c.readings, reading{m.Name, m.Value})
	}
	hi := len(c.readings)
	w.events = append(w.events, sample{
		id: ledgerID(e.UUID), at: at.UnixMicro(), replayed: replayed, received: received, readings: c.readings[lo:hi:hi],
	})
	return skipped
}

// storable reports whether every database can store a metric's name: PostgreSQL has no text
// with a zero byte. Such an event must not make its whole batch fail.
func storable(name string) bool { return strings.IndexByte(name, 0) < 0 }

func (c *Collector) window(key Key) *Window {
	if w := c.index[key]; w != nil {
		return w
	}
	if len(c.slab) == cap(c.slab) {
		c.slab = make([]Window, 0, 128)
	}
	c.slab = append(c.slab, Window{Key: key})
	w := &c.slab[len(c.slab)-1]
	w.events = w.first[:0:1]
	c.index[key] = w
	c.windows = append(c.windows, w)
	return w
}

// Windows returns the windows so far, in the order in which they were created.
func (c *Collector) Windows() []*Window { return c.windows }
