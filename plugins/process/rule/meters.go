package rule

import (
	"weir/internal/platform/meter"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// meters are the metrics of event_rules. Counters grow only after a commit, so that they count durable work.
type meters struct {
	events, records, results, dropped, givenUp *service.MetricCounter
	valid, behind                              *service.MetricGauge
	freshness                                  *service.MetricTimer
}

func newMeters(res *service.Resources) *meters {
	m := res.Metrics()
	return &meters{
		events: m.NewCounter("weir_rules_events_total", "rule", "outcome"),
		records: meter.Counters(m, "weir_rules_records_total", "outcome",
			"read", "duplicate", "erased", "muted", "invalid", "redelivered", "missed"),
		results:   m.NewCounter("weir_rules_results_total", "rule"),
		dropped:   meter.Counter(m, "weir_rules_dropped_keys_total"),
		givenUp:   m.NewCounter("weir_rules_given_up_total", "rule"),
		valid:     meter.Gauge(m, "weir_rules_valid"),
		behind:    meter.Gauge(m, "weir_rules_behind_partitions"),
		freshness: meter.Timer(m, "weir_rules_freshness_seconds"),
	}
}

// declare creates the per-rule counters of a set at 0, so that they are exported before the first event.
func (m *meters) declare(s *Set) {
	for _, r := range s.Rules {
		for outcome := range Outcomes {
			m.events.Incr(0, r.Name, outcome.String())
		}
		m.results.Incr(0, r.Name)
		m.givenUp.Incr(0, r.Name)
	}
}

// told marks the current counts of a partition as already reported to the metrics.
func (h *held) told() { h.noted = h.counts(map[[2]string]int64{}) }

// givenUp is the key, beside the names of outcomes, of the partial matches that were given up.
const givenUp = "given up"

// counts flattens the tally into all, which is cleared first, by rule ("" for the records of the partition) and
// outcome.
func (h *held) counts(all map[[2]string]int64) map[[2]string]int64 {
	t := &h.tally
	clear(all)
	if h.sides == nil { // records of a join are counted by the partitions of its two topics
		for _, of := range [...]struct {
			outcome string
			n       int64
		}{{"read", t.Read}, {"duplicate", t.Duplicate}, {"erased", t.Erased}, {"muted", t.Muted}, {"invalid", t.Invalid},
			{"redelivered", t.Redelivered}, {"missed", t.Missed}} {
			all[[2]string{"", of.outcome}] = of.n
		}
	}
	for _, op := range h.ops {
		all[[2]string{op.Name, givenUp}] = op.givenUp
		for outcome, n := range op.tally {
			all[[2]string{op.Name, Outcome(outcome).String()}] = n
		}
	}
	return all
}

// growth is the amount by which a counter grows with a commit.
type growth struct {
	of     *service.MetricCounter
	n      int64
	labels []string
}

func tell(all []growth) {
	for _, m := range all {
		m.of.Incr(m.n, m.labels...)
	}
}

// more returns what a commit adds to the counters, for tell to report once the commit is durable.
func (m *meters) more(h *held) (all []growth) {
	if h.spare == nil {
		h.spare = map[[2]string]int64{}
	}
	now := h.counts(h.spare)
	for what, n := range now {
		switch n -= h.noted[what]; {
		case n == 0:
		case what[0] == "":
			all = append(all, growth{m.records, n, []string{what[1]}})
		case what[1] == givenUp:
			all = append(all, growth{m.givenUp, n, []string{what[0]}})
		default:
			all = append(all, growth{m.events, n, []string{what[0], what[1]}})
		}
	}
	h.noted, h.spare = now, h.noted
	told := map[string]int64{}
	for i := range h.out {
		told[h.out[i].Rule]++
	}
	for rule, n := range told {
		all = append(all, growth{m.results, n, []string{rule}})
	}
	return all
}
