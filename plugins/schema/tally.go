package schema

import (
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/plugins/event"
)

// tally counts verdicts, a batch at a time.
type tally struct {
	events   *service.MetricCounter
	flagged  *service.MetricCounter
	names    *service.MetricCounter
	versions *service.MetricGauge

	mu    sync.Mutex
	known map[nameLabel]bool // names that have a label of their own, at most namesCounted
}

type nameLabel struct{ place, name string }

const (
	namesCounted = 100
	otherNames   = "(other)"
	placeMetrics = "metrics"
	placeEvent   = "event"
	verdictValid = "valid"
)

func newTally(m *service.Metrics) *tally {
	return &tally{
		events:   m.NewCounter("weir_schema_events_total", "schema", "verdict"),
		flagged:  m.NewCounter("weir_schema_flagged_total", "flag"),
		names:    m.NewCounter("weir_schema_unknown_names_total", "place", "name"),
		versions: m.NewGauge("weir_schema_versions_loaded", "subject"),
		known:    map[nameLabel]bool{},
	}
}

func (t *tally) loaded(s *Set) { t.versions.Set(int64(len(s.schemas)), s.subject) }

// batchTally gathers one batch; most batches have one or two kinds of verdict.
type batchTally struct {
	t        *tally
	verdicts []verdictCount
	late     int64
	ahead    int64
	names    []nameCount
}

type nameCount struct {
	nameLabel
	n int64
}

type verdictCount struct {
	schema  *Schema
	verdict string
	n       int64
}

func (t *tally) batch() *batchTally { return &batchTally{t: t} }

func (b *batchTally) add(v *Verdict, flags string) {
	verdict := verdictValid
	if v.Rejection != nil {
		verdict = string(v.Rejection.Code)
	}
	at := -1
	for i := range b.verdicts {
		if b.verdicts[i].schema == v.Schema && b.verdicts[i].verdict == verdict {
			at = i
			break
		}
	}
	if at < 0 {
		at = len(b.verdicts)
		b.verdicts = append(b.verdicts, verdictCount{schema: v.Schema, verdict: verdict})
	}
	b.verdicts[at].n++
	switch flags {
	case event.FlagLate:
		b.late++
	case event.FlagClockAhead:
		b.ahead++
	}
	for _, name := range v.Metrics {
		b.name(placeMetrics, name)
	}
	for _, name := range v.Fields {
		b.name(placeEvent, name)
	}
}

// name counts one name. The events of a batch mostly have the same few; where
// they do not, looking for each among all would cost more than it saves.
func (b *batchTally) name(place string, name []byte) {
	const gathered = 32
	for i := range b.names {
		if n := &b.names[i]; n.name == string(name) && n.place == place {
			n.n++
			return
		}
	}
	n := nameCount{nameLabel{place, string(name)}, 1}
	if len(b.names) == gathered {
		b.t.name(n)
		return
	}
	b.names = append(b.names, n)
}

func (b *batchTally) done() {
	for _, c := range b.verdicts {
		schema := ""
		if c.schema != nil {
			schema = c.schema.Name()
		}
		b.t.events.Incr(c.n, schema, c.verdict)
	}
	if b.late > 0 {
		b.t.flagged.Incr(b.late, event.FlagLate)
	}
	if b.ahead > 0 {
		b.t.flagged.Incr(b.ahead, event.FlagClockAhead)
	}
	for _, n := range b.names {
		b.t.name(n)
	}
}

// name counts a name that no schema declares. Names come from devices, so only
// the first ones have a label of their own.
func (t *tally) name(n nameCount) {
	label := n.nameLabel
	t.mu.Lock()
	if !t.known[label] {
		if len(t.known) < namesCounted && len(label.name) <= 64 {
			t.known[label] = true
		} else {
			label.name = otherNames
		}
	}
	t.mu.Unlock()
	t.names.Incr(n.n, label.place, label.name)
}
