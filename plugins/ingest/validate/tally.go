package validate

import (
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"weir/internal/event"
	"weir/internal/platform/meter"
	"weir/plugins/ingest/registry"
)

// tally counts verdicts, and passes the counts to the engine a few times a second, because the
// engine looks up a metric by its labels each time.
type tally struct {
	events   *service.MetricCounter
	flagged  *service.MetricCounter
	names    *service.MetricCounter
	versions *service.MetricGauge

	mu       sync.Mutex
	known    map[nameLabel]bool // names that have a label of their own, at most namesCounted
	counted  map[verdictLabel]int64
	flags    map[string]int64
	unknown  map[nameLabel]int64
	awaiting bool // a call of tell is scheduled
}

type verdictLabel struct{ schema, verdict string }

// tellEvery is how often counts are passed to the engine.
const tellEvery = 200 * time.Millisecond

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
		flagged:  meter.Counters(m, "weir_schema_flagged_total", "flag", event.FlagLate, event.FlagClockAhead),
		names:    m.NewCounter("weir_schema_unknown_names_total", "place", "name"),
		versions: m.NewGauge("weir_schema_versions_loaded", "subject"),
		known:    map[nameLabel]bool{},
		counted:  map[verdictLabel]int64{},
		flags:    map[string]int64{},
		unknown:  map[nameLabel]int64{},
	}
}

// tell passes the engine what was counted since the last call.
func (t *tally) tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaiting = false
	for l, n := range t.counted {
		t.events.Incr(n, l.schema, l.verdict)
	}
	for flag, n := range t.flags {
		t.flagged.Incr(n, flag)
	}
	for l, n := range t.unknown {
		t.names.Incr(n, l.place, l.name)
	}
	clear(t.counted)
	clear(t.flags)
	clear(t.unknown)
}

func (t *tally) loaded(s *registry.Set) {
	t.versions.Set(int64(len(s.Schemas())), s.Subject())
	for _, schema := range s.Schemas() {
		t.events.Incr(0, schema.Name(), verdictValid)
		t.events.Incr(0, schema.Name(), string(event.CodeSchemaViolation))
	}
}

// batchTally counts the verdicts of one batch; most batches have one or two kinds.
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
	schema  *planned
	verdict string
	n       int64
}

func (t *tally) batch() *batchTally { return &batchTally{t: t} }

func (b *batchTally) add(v *verdict, flags string) {
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

// name counts one name. The events of a batch mostly have the same few; if there are more, a search
// among all would cost more than it saves.
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
		b.t.mu.Lock()
		defer b.t.mu.Unlock()
		b.t.name(n)
		return
	}
	b.names = append(b.names, n)
}

func (b *batchTally) done() {
	t := b.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range b.verdicts {
		schema := ""
		if c.schema != nil {
			schema = c.schema.Name()
		}
		t.counted[verdictLabel{schema, c.verdict}] += c.n
	}
	if b.late > 0 {
		t.flags[event.FlagLate] += b.late
	}
	if b.ahead > 0 {
		t.flags[event.FlagClockAhead] += b.ahead
	}
	for _, n := range b.names {
		t.name(n)
	}
	if !t.awaiting {
		t.awaiting = true
		time.AfterFunc(tellEvery, t.tell)
	}
}

// name counts a name that no schema declares. Names come from devices, so only
// the first ones have a label of their own. The caller holds the lock.
func (t *tally) name(n nameCount) {
	label := n.nameLabel
	if !t.known[label] {
		if len(t.known) < namesCounted && len(label.name) <= 64 {
			t.known[label] = true
		} else {
			label.name = otherNames
		}
	}
	t.unknown[label] += n.n
}
