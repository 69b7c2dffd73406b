package rollup

import (
	"strings"
	"time"

	"weir/internal/event"
)

// Collector groups events into windows. The strings of its windows share the
// memory of the events they came from.
type Collector struct {
	index    map[Key]*Window
	windows  []*Window
	slab     []Window
	readings []reading
}

// NewCollector makes a collector for about n events.
func NewCollector(n int) *Collector {
	return &Collector{index: make(map[Key]*Window, n), windows: make([]*Window, 0, n)}
}

// Add puts the readings of one event into the window of the time it counts at.
// Metrics named in unknown (comma-separated) are left out, and those whose name
// no database can hold; it returns how many were. received is when the event was
// received, as its header has it. An event without a known metric still counts in the ledger.
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

// storable tells whether every database can hold a metric's name: PostgreSQL
// has no text with a zero byte. One such event must not stall its neighbours.
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

// Windows returns the windows so far, in the order in which they were opened.
func (c *Collector) Windows() []*Window { return c.windows }
