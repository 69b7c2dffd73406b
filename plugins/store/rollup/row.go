package rollup

import (
	"math"
	"slices"
	"strings"

	"weir/internal/platform/sketch"
)

// ledgerState says what a row's ledger knows.
type ledgerState int16

const (
	ledgerComplete ledgerState = iota // every event that the row counts
	ledgerDropped                     // nothing any more: its retention has passed
	ledgerPartial                     // only events that came after it was dropped
)

// windowRow is one window as it is stored: the aggregates of each metric and the
// ledger of the events that they count. Rows of hours and days are merged from
// those of minutes and have no ledger.
type windowRow struct {
	Key
	Version int64 // counts writes; 0 is a row that is not stored yet
	State   ledgerState
	Ledger  []uint64     // sorted
	Metrics []*metricRow // sorted by name

	rowid  int64       // SQLite: where it probably is
	stored ledgerState // SQLite: what the stored row says
	quoted string      // SQLite: the JSON of the first metrics' names
	quotes int         // how many
	named  int         // PostgreSQL: how many metrics the stored row has
	cold   bool        // read from an object: there is no stored row, which would be of the next version
	spare  []metricRow // for metrics that are to come
}

// metricRow is the aggregate of one metric within a window.
type metricRow struct {
	Name     string
	Count    int64
	Sum      sketch.Exact
	Squares  sketch.Exact
	Min, Max float64
	Last     float64 // the newest reading; of two at the same time, the larger
	LastAt   int64   // Unix microseconds
	Sketch   sketch.Sketch
}

// outcome is what became of an event at the store.
type outcome int

const (
	outcomeCounted   outcome = iota
	outcomeDuplicate         // the ledger has it
	outcomeSealed            // replayed into a window whose ledger was dropped: only a rebuild can tell
	outcomeExpired           // older than the rollup retention
	outcomeErased            // of a device or fleet that was erased since it was received
	outcomes
)

func (o outcome) String() string {
	return [...]string{"counted", "duplicate", "sealed", "expired", "erased"}[o]
}

// merge counts one event unless the ledger knows it. Merging the same events
// in any order, any number of times, gives the same row.
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

// Of a device that reports every ten seconds, a window has six events, and each
// of its metrics a few bins.
const (
	ledgerRoom = 8
	binsRoom   = 4
)

// roomMetrics is how many metrics of a row lie in one piece of memory with its ledger.
const roomMetrics = 3

// roomOf is that piece: what has pointers comes first.
type roomOf struct {
	metrics [roomMetrics]*metricRow
	spare   [roomMetrics]metricRow
	ledger  [ledgerRoom]uint64
}

// room makes an empty row of few pieces of memory: there are a hundred thousand
// at a time, and what collecting garbage costs is the number of their pieces.
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

// metric finds the aggregate of a metric, or adds it. hint is where it
// probably is.
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

// fold adds the aggregates of another row: minutes into an hour, devices into
// a fleet. The rows must not count the same event.
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

// quantile is the sketch's, which can't lie outside what was measured.
func (m *metricRow) quantile(q float64) float64 {
	return math.Min(math.Max(m.Sketch.QuantileOf(q, uint64(m.Count)), m.Min), m.Max)
}

// avg is the mean. Rounding the sum, or a sum beyond a double's range, does not
// move it out of what was read.
func (m *metricRow) avg() float64 {
	return math.Min(math.Max(m.Sum.Hi/float64(m.Count), m.Min), m.Max)
}

func (m *metricRow) m2() float64 { return sketch.Deviations(m.Count, m.Sum, m.Squares) }
