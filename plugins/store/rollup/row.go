package rollup

import (
	"math"
	"slices"
	"strings"

	"weir/internal/platform/sketch"
)

// ledgerState says which events of a row its ledger has.
type ledgerState int16

const (
	ledgerComplete ledgerState = iota // all events that the row counts
	ledgerDropped                     // none: retention has dropped the ledger
	ledgerPartial                     // those that were counted after the ledger was dropped
)

// windowRow is a window as stored: the aggregates of each metric, and the ledger with the ids of
// the events that they count. Rows of hours and days are sums of minutes and have no ledger.
type windowRow struct {
	Key
	Version int64 // number of writes; 0: not stored yet
	State   ledgerState
	Ledger  []uint64     // sorted
	Metrics []*metricRow // sorted by name

	rowid  int64       // SQLite: the rowid, as of the last read or write
	stored ledgerState // SQLite: the state in the stored row
	quoted string      // SQLite: JSON of the names of the first `quotes` metrics
	quotes int         // SQLite: see quoted
	named  int         // PostgreSQL: number of metrics in the stored row
	cold   bool        // read from an object: there is no stored row, so the next version is inserted
	spare  []metricRow // allocated, for metrics that are added later
}

// metricRow is the aggregate of one metric of a window.
type metricRow struct {
	Name     string
	Count    int64
	Sum      sketch.Exact
	Squares  sketch.Exact
	Min, Max float64
	Last     float64 // the newest reading; of several at the same time, the largest
	LastAt   int64   // Unix microseconds
	Sketch   sketch.Sketch
}

// outcome says what the store did with an event.
type outcome int

const (
	outcomeCounted   outcome = iota
	outcomeDuplicate         // the ledger has it already
	outcomeSealed            // replayed, but the window's ledger was dropped: only a rebuild can correct it
	outcomeExpired           // older than the rollup retention
	outcomeErased            // of a device or fleet that was erased since it was received
	outcomes
)

func (o outcome) String() string {
	return [...]string{"counted", "duplicate", "sealed", "expired", "erased"}[o]
}

// merge counts an event unless the ledger has it. While the ledger is complete, merging the same
// events in any order, any number of times, results in the same row.
func (r *windowRow) merge(e *sample, intern func(string) string) outcome {
	i, found := slices.BinarySearch(r.Ledger, e.id)
	if found {
		return outcomeDuplicate
	}
	if r.State != ledgerComplete {
		if e.replayed {
			return outcomeSealed
		}
		r.State = ledgerPartial
	}
	if len(r.Ledger)+len(r.Metrics) == 0 {
		r.room(len(e.readings))
	}
	r.Ledger = slices.Insert(r.Ledger, i, e.id)
	for n := range e.readings {
		rd := &e.readings[n]
		r.metric(n, rd.metric, intern).add(rd.value, e.at)
	}
	return outcomeCounted
}

// Initial capacities: a device that reports every ten seconds has six events in a window, and each
// of its metrics a few bins.
const (
	ledgerRoom = 8
	binsRoom   = 4
)

// roomMetrics is up to how many metrics a row shares one allocation with its ledger.
const roomMetrics = 3

// roomOf is that allocation. The fields with pointers come first, because the garbage collector
// scans an object up to its last pointer.
type roomOf struct {
	metrics [roomMetrics]*metricRow
	spare   [roomMetrics]metricRow
	ledger  [ledgerRoom]uint64
}

// room allocates the memory of an empty row in few pieces: there are some hundred thousand rows at
// a time, and the cost of garbage collection grows with the number of objects.
func (r *windowRow) room(metrics int) {
	if metrics <= roomMetrics {
		room := new(roomOf)
		r.Ledger, r.Metrics, r.spare = room.ledger[:0], room.metrics[:0], room.spare[:metrics]
	} else {
		r.Ledger = make([]uint64, 0, ledgerRoom)
		r.Metrics = make([]*metricRow, 0, metrics)
		r.spare = make([]metricRow, metrics)
	}
	for i, s := range sketch.Room(metrics, binsRoom) {
		r.spare[i].Sketch = s
	}
}

// metric returns the aggregate of a metric, and adds it if there is none. hint is the index at
// which it probably is.
func (r *windowRow) metric(hint int, name string, intern func(string) string) *metricRow {
	if hint < len(r.Metrics) && r.Metrics[hint].Name == name {
		return r.Metrics[hint]
	}
	i, found := slices.BinarySearchFunc(r.Metrics, name, func(m *metricRow, n string) int {
		return strings.Compare(m.Name, n)
	})
	if found {
		return r.Metrics[i]
	}
	var m *metricRow
	if len(r.spare) > 0 {
		m, r.spare = &r.spare[0], r.spare[1:]
	} else {
		m = new(metricRow)
	}
	m.Name = intern(name)
	r.Metrics = slices.Insert(r.Metrics, i, m)
	return m
}

func (m *metricRow) add(v float64, at int64) {
	if m.Count == 0 {
		m.Min, m.Max, m.Last, m.LastAt = v, v, v, at
	} else {
		m.bounds(v, v, v, at)
	}
	m.Count++
	m.Sum.Add(v)
	m.Squares.AddSquare(v)
	m.Sketch.Add(v)
}

func (m *metricRow) bounds(lo, hi, last float64, at int64) {
	m.Min, m.Max = math.Min(m.Min, lo), math.Max(m.Max, hi)
	if at > m.LastAt || at == m.LastAt && last > m.Last {
		m.Last, m.LastAt = last, at
	}
}

// fold adds the aggregates of another row: of a minute to those of an hour, or of a device to
// those of a fleet. The rows must not count the same event.
func (r *windowRow) fold(o *windowRow) {
	for n, from := range o.Metrics {
		m := r.metric(n, from.Name, func(s string) string { return s })
		if m.Count == 0 {
			m.Min, m.Max, m.Last, m.LastAt = from.Min, from.Max, from.Last, from.LastAt
		} else {
			m.bounds(from.Min, from.Max, from.Last, from.LastAt)
		}
		m.Count += from.Count
		m.Sum.Merge(from.Sum)
		m.Squares.Merge(from.Squares)
		m.Sketch.Merge(from.Sketch)
	}
}

// quantile returns an estimate by the sketch, limited to what was measured.
func (m *metricRow) quantile(q float64) float64 {
	return math.Min(math.Max(m.Sketch.QuantileOf(q, uint64(m.Count)), m.Min), m.Max)
}

// avg returns the mean. It is limited to [Min, Max], also when the sum was rounded or saturated.
func (m *metricRow) avg() float64 {
	return math.Min(math.Max(m.Sum.Hi/float64(m.Count), m.Min), m.Max)
}

func (m *metricRow) m2() float64 { return sketch.Deviations(m.Count, m.Sum, m.Squares) }
