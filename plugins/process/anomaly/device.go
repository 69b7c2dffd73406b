package anomaly

import (
	"strings"

	"weir/internal/event"
	"weir/internal/platform/firmware"
)

// maxMetrics bounds the series of one device; readings beyond it are not judged.
const maxMetrics = 256

// deviceKey identifies a device. Replays that ask to be judged have a state of their own.
type deviceKey struct {
	fleet  string
	device string
	replay bool
}

// device is the state of one device: its series, and what its baseline depends on.
type device struct {
	key      deviceKey
	firmware string
	series   []series
	open     []openAlert // loaded alerts of metrics that were not seen since

	rules     *ruleSet // from which the series' selections are
	home      *partition
	epoch     uint32 // of home, when the state began
	lastSeen  int64  // unix seconds, by the server's clock
	firstAt   int64  // time of the first event that this process judged, in microseconds
	firstTook int64  // when that event was received

	newest       int64 // time of the newest event, in microseconds
	learningFrom int64 // when learning began; 0: not known
	usualDay     int32 // day of the loaded baseline; -1: not asked for yet
	loaded       bool  // the stores have answered
	retryAt      int64 // unix seconds, when they have not
}

// find returns the series of a metric, and makes one if there is none. A device's events mostly
// have the same order of metrics: i is the index in this event. Beyond maxMetrics it returns nil.
func (d *device) find(i int, metric string, names *names) *series {
	if i < len(d.series) && d.series[i].metric == metric {
		return &d.series[i]
	}
	for j := range d.series {
		if d.series[j].metric == metric {
			return &d.series[j]
		}
	}
	if len(d.series) >= maxMetrics {
		return nil
	}
	s := d.grow(names.intern(metric))
	s.rules = d.rules.find(d.key.fleet, d.key.device, d.firmware, metric)
	d.reopen(s)
	return s
}

// grow adds a series, by one: memory is for series, not for growth.
func (d *device) grow(metric string) *series {
	n := len(d.series)
	grown, pasts := make([]series, n+1), make([]past, n+1)
	copy(grown, d.series)
	grown[n].metric = metric
	for i := range grown {
		if i < n {
			pasts[i] = *grown[i].past
		}
		grown[i].past = &pasts[i]
	}
	d.series = grown
	return &grown[n]
}

// reopen gives a series the alerts that were open on it.
func (d *device) reopen(s *series) {
	kept := d.open[:0]
	for _, o := range d.open {
		if o.metric != s.metric {
			kept = append(kept, o)
			continue
		}
		rule := d.rules.named(o.rule)
		if rule == nil {
			rule = &Rule{Name: o.rule, Detector: byThreshold, Severity: o.severity} // the rule is gone: the alert will resolve
		}
		s.active = &active{next: s.active, rule: rule, id: o.id, since: o.since, open: true}
	}
	if d.open = kept; len(kept) == 0 {
		d.open = nil
	}
}

// follow switches to a new set of rules: a changed rule goes on under its name, and alerts of one
// that is gone resolve with the next reading.
func (d *device) follow(rules *ruleSet) {
	d.rules = rules
	for i := range d.series {
		s := &d.series[i]
		s.rules = rules.find(d.key.fleet, d.key.device, d.firmware, s.metric)
		for a := s.active; a != nil; a = a.next {
			if rule := rules.named(a.rule.Name); rule != nil {
				a.rule = rule
			}
		}
	}
}

// orphans resolves the alerts of a series whose rules do not apply to it any more.
func (s *series) orphans(r *reading, out []transition) []transition {
	for a := s.active; a != nil; a = a.next {
		ours := false
		for _, rule := range s.rules.rules {
			ours = ours || rule == a.rule
		}
		if ours {
			continue
		}
		s.drop(a)
		if a.open {
			t := s.transition(didResolve, a, verdict{state: isVoid}, r)
			t.Summary = "the rule " + a.rule.Name + " is no longer about " + s.metric + " of " + t.Device
			out = append(out, t)
		}
	}
	return out
}

// update notes the firmware of an event, and voids the baseline if relearn says so for this change.
func (d *device) update(firmware string, at int64, relearn relearn) (changed bool) {
	if firmware == d.firmware {
		return false
	}
	if relearn.voids(d.firmware, firmware) {
		d.learningFrom = at
		for i := range d.series {
			d.series[i].usual = stats{}
		}
	}
	d.firmware = strings.Clone(firmware)
	d.follow(d.rules)
	return true
}

// relearn tells which changes of firmware void a device's baseline.
type relearn string

const (
	relearnAny   relearn = "any"
	relearnMajor relearn = "major"
	relearnNever relearn = "never"
)

func (r relearn) voids(from, to string) bool {
	switch r {
	case relearnAny:
		return from != ""
	case relearnMajor:
		a, ok1 := firmware.Parse(from)
		b, ok2 := firmware.Parse(to)
		return from != "" && (!ok1 || !ok2 || a.Major() != b.Major())
	}
	return false
}

// observe judges the readings of an event, except metrics that the event's schema does not declare
// (unknown).
func (d *device) observe(r *reading, unknown string, t timing, names *names, out []transition) (_ []transition, samples,
	late int) {
	for i := range r.event.Metrics {
		m := &r.event.Metrics[i]
		if unknown != "" && event.HasFlag(unknown, m.Name) {
			continue
		}
		s := d.find(i, m.Name, names)
		if s == nil {
			continue
		}
		r.value = m.Value
		if s.active != nil {
			out = s.orphans(r, out)
		}
		var ok bool
		if out, ok = s.observe(r, t, out); !ok {
			late++
		}
		samples++
	}
	return out, samples, late
}
