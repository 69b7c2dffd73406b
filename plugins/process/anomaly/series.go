package anomaly

import (
	"fmt"
	"math"
	"strconv"

	"weir/internal/event"
)

// series is the state of one metric of one device.
type series struct {
	metric string
	rules  *selection
	active *active // rules that are not at rest
	*past
}

// past is what a series was like. It holds no pointers, so that collecting garbage
// does not look through it: it is most of the memory of 50,000 devices.
type past struct {
	recent   window
	usual    stats // the stored baseline; m2 is the standard deviation
	last     int64 // time of the newest reading, in microseconds
	outSince int64 // since when every reading was clipped; 0: the last one was not
}

// active is a rule that a series breaches, or breached until just now.
type active struct {
	next       *active
	rule       *Rule
	id         string // of the alert, once it is open
	since      int64  // time of the first breach in a row
	clearSince int64  // since when the readings of an open alert have been clear; 0: they are not
	count      uint32 // breaches in a row
	open       bool
}

// reading is one metric of one event, with what an alert reports of it.
type reading struct {
	value    float64
	at       int64 // microseconds
	event    *event.Event
	fleet    string
	received string            // the header
	where    event.Coordinates // the event's delivery
	learning bool              // the device's baseline is not used yet
}

// timing has the lengths of the window and its buckets, in microseconds.
type timing struct {
	width int64 // of a bucket
	span  int64 // of the window
}

func (t timing) bucket(at int64) int32 {
	b := at / t.width
	if at%t.width < 0 {
		b--
	}
	return int32(b)
}

// clipBound is how many standard deviations a reading may be off to enter the window unclipped.
const clipBound = 3

// observe judges a reading and adds it to the window. It returns out with the transitions that
// follow, and false if the reading was too old to be judged. A reading that is up to one bucket
// late counts as just arrived.
func (s *series) observe(r *reading, t timing, out []transition) ([]transition, bool) {
	bucket, at := t.bucket(r.at), r.at
	if late := s.last - r.at; late > t.width {
		if s.rules.score && s.recent.at(bucket) {
			s.recent.add(bucket, r.value)
		}
		return out, false
	} else if late > 0 {
		at = s.last
	}
	s.last = at

	var recent stats
	if s.rules.score {
		recent = s.look(t, at)
	}
	for _, rule := range s.rules.rules {
		out = s.step(rule, s.judge(rule, r, recent), r, at, out)
	}
	if s.rules.score {
		s.take(r, t, bucket, recent)
	}
	return out, true
}

// look advances the window and returns its contents before the reading.
func (s *series) look(t timing, at int64) stats {
	s.recent.at(t.bucket(at))
	recent := s.recent.stats()
	if d := recent.mean - recent.mean + recent.m2 - recent.m2; d != 0 { // an overflow: begin again
		s.recent.reset()
		s.recent.at(t.bucket(at))
		return stats{}
	}
	return recent
}

// take adds a reading to the window, clipped to its bounds. When only clipped readings have come
// for a whole window, the series has changed for good: the window begins again with unclipped
// readings.
func (s *series) take(r *reading, t timing, bucket int32, recent stats) {
	v, clipped := r.value, false
	if recent.n >= 10 {
		v, clipped = clip(v, recent, floors{Relative: 0.001}, clipBound)
	}
	switch {
	case !clipped:
		s.outSince = 0
	case s.outSince == 0:
		s.outSince = s.last
	case s.last-s.outSince >= t.span:
		s.recent.reset()
		s.outSince, v = 0, r.value
	}
	if s.recent.at(bucket) {
		s.recent.add(bucket, v)
	}
}

// verdict is the result of a rule for one reading.
type verdict struct {
	state    verdictState
	atOnce   bool // so far off that it needs no confirmation
	score    float64
	expected float64
	limit    float64
}

type verdictState int

const (
	isClear   verdictState = iota
	isBetween              // no breach, but not clear yet
	isBreach
	isUnknown // not enough is known
	isVoid    // there is nothing left to compare with
)

func (s *series) judge(rule *Rule, r *reading, recent stats) verdict {
	switch rule.Detector {
	case byThreshold:
		return rule.compare(r.value)
	case byZScore:
		if recent.n < float64(rule.Samples) {
			return verdict{state: isUnknown}
		}
		return rule.rate(zscore(r.value, recent, rule.floors, rule.Clear), recent.mean)
	default:
		if r.learning || s.usual.n < float64(rule.Samples) {
			return verdict{state: isVoid}
		}
		sd := max(s.usual.m2, rule.floors.Absolute, rule.floors.Relative*math.Abs(s.usual.mean), 1e-9)
		score := (r.value - s.usual.mean) / sd
		return rule.rate(max(-maxScore, min(maxScore, score)), s.usual.mean)
	}
}

// compare compares a value with fixed limits.
func (r *Rule) compare(v float64) verdict {
	above := r.Max != nil && v > *r.Max
	below := r.Min != nil && v < *r.Min
	switch {
	case above:
		return verdict{state: isBreach, limit: *r.Max}
	case below:
		return verdict{state: isBreach, limit: *r.Min}
	case r.Max != nil && v > *r.Max-r.Hysteresis, r.Min != nil && v < *r.Min+r.Hysteresis:
		return verdict{state: isBetween}
	}
	return verdict{}
}

// rate compares a score with the rule's limits.
func (r *Rule) rate(score, expected float64) verdict {
	off := math.Abs(score)
	if r.Direction == offUp && score < 0 || r.Direction == offDown && score > 0 {
		off = 0
	}
	v := verdict{score: score, expected: expected}
	switch {
	case off > r.Score:
		v.state, v.atOnce = isBreach, off > r.AtOnce
	case off > r.Clear:
		v.state = isBetween
	}
	return v
}

// step updates the state of a rule for the series, and reports when its alert opens or resolves.
func (s *series) step(rule *Rule, v verdict, r *reading, at int64, out []transition) []transition {
	a := s.find(rule)
	if a == nil {
		if v.state != isBreach {
			return out
		}
		a = &active{next: s.active, rule: rule, since: at}
		s.active = a
	}
	if !a.open {
		if v.state != isBreach {
			s.drop(a)
			return out
		}
		a.count++
		if v.atOnce || a.count >= rule.Confirm && at-a.since >= rule.For.micros() {
			a.open, a.id = true, alertID(rule.Name, r.fleet, r.event.Device, s.metric, r.where)
			return append(out, s.transition(didOpen, a, v, r))
		}
		return out
	}
	switch {
	case v.state == isVoid:
	case v.state != isClear:
		if v.state != isUnknown {
			a.clearSince = 0
		}
		return out
	case a.clearSince == 0:
		if a.clearSince = at; rule.ClearFor > 0 {
			return out
		}
	case at-a.clearSince < rule.ClearFor.micros():
		return out
	}
	s.drop(a)
	return append(out, s.transition(didResolve, a, v, r))
}

func (s *series) find(rule *Rule) *active {
	for a := s.active; a != nil; a = a.next {
		if a.rule == rule {
			return a
		}
	}
	return nil
}

func (s *series) drop(a *active) {
	for p := &s.active; *p != nil; p = &(*p).next {
		if *p == a {
			*p = a.next
			return
		}
	}
}

func (s *series) transition(what string, a *active, v verdict, r *reading) transition {
	t := transition{
		Version: 1, AlertID: a.id, Kind: "metric", Transition: what,
		Rule: a.rule.Name, Detector: a.rule.Detector, Severity: a.rule.Severity,
		Fleet: r.fleet, Device: r.event.Device, Firmware: r.event.Firmware, Metric: s.metric,
		Value: r.value, EventID: r.event.ID, At: formatMicros(r.at), Since: formatMicros(a.since), ReceivedAt: r.received,
	}
	switch {
	case a.rule.Detector != byThreshold && v.state != isVoid:
		t.Score, t.Expected = &v.score, &v.expected
	case v.state == isBreach:
		t.Limit = &v.limit
	}
	t.Summary = summary(&t, a.rule, v)
	return t
}

func summary(t *transition, rule *Rule, v verdict) string {
	text := rule.Summary
	if text == "" {
		text = rule.Name
	}
	value := strconv.FormatFloat(t.Value, 'g', 6, 64)
	switch {
	case t.Transition == didResolve:
		return fmt.Sprintf("%s: %s of %s is back at %s", text, t.Metric, t.Device, value)
	case t.Limit != nil:
		return fmt.Sprintf("%s: %s of %s is %s, the limit is %g", text, t.Metric, t.Device, value, *t.Limit)
	case rule.Detector == byBaseline:
		return fmt.Sprintf("%s: %s of %s is %s, %.1f standard deviations from its usual %.6g", text, t.Metric, t.Device,
			value, v.score, v.expected)
	default:
		return fmt.Sprintf("%s: %s of %s is %s, %.1f standard deviations from the last hour's %.6g", text, t.Metric, t.Device,
			value, v.score, v.expected)
	}
}
