package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

// origin is what a result was computed by: the rule of its version in a partition, with the offset from which the
// rule counts there.
type origin struct {
	*operator
	set    *Set
	at     place
	log    string // the id of the partition's log
	next   int64  // the offset that the rules read next
	moment int64  // the partition's watermark
	delay  int64  // µs by which the watermark follows the newest event
	read   readings
	tally  ruleTally
	missed int64
	name   string // fleet, a zero byte, and the JSON array of the key's values
	key    string // the JSON array alone
	last   int64  // the last offset that the result counts
	begins int64  // of a match: the offset of its first event in the order of the match

	forgot int64 // how many names the sketches of the result may have forgotten
}

// applied is an event as it is given to the rule again.
type applied struct {
	record
	raw   []byte
	again bool
}

// aheadMost is the default of max_ahead, which is assumed where no Reading is stored.
const aheadMost = 5 * time.Minute

// origin finds what computed a result. why is the reason for which it cannot be computed again, "" if it can.
func (s Sample) origin(ctx context.Context, db *sqldb.DB, sets map[string]*Set, t *telling) (o *origin, why string,
	err error) {
	first, err := event.ParseCoordinates(t.First)
	if err != nil {
		return nil, "", err
	}
	last, err := event.ParseCoordinates(t.Last)
	if err != nil {
		return nil, "", err
	}
	set, known := sets[t.Version]
	if !known {
		if set, err = versionNamed(ctx, db, t.Version); err != nil {
			return nil, "", err
		}
		sets[t.Version] = set
	}
	if set != nil {
		for _, r := range set.Rules {
			if r.Name == t.Rule && strings.Contains(r.whereabouts(), between) {
				return nil, SkippedTopics, nil
			}
		}
	}
	o = &origin{set: set, at: place{first.Topic, first.Partition}, last: last.Offset}
	var tallies string
	var of tally
	err = db.QueryRowContext(ctx, `SELECT log, next, time, tally FROM rule_position WHERE topic = $1 AND part = $2`,
		o.at.topic, o.at.number).Scan(&o.log, &o.next, &o.moment, &tallies)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, SkippedRules, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(tallies), &of)
	}
	if err != nil || set == nil {
		return nil, SkippedRules, err
	}
	i := slices.IndexFunc(set.Rules, func(r *Rule) bool { return r.Name == t.Rule })
	if i < 0 {
		return nil, SkippedRules, nil
	}
	r := set.Rules[i]
	o.tally, known = of.Rules[r.Name], of.Rules[r.Name].Epoch == r.Epoch
	for _, d := range of.Drains {
		if d.Epoch == r.Epoch {
			o.tally, known = d.ruleTally, true
		}
	}
	if !known {
		return nil, SkippedRules, nil
	}
	if o.read, err = readingsOf(ctx, db, o.at); err != nil {
		return nil, "", err
	}
	o.delay, o.missed = s.delay(o.read.at(o.last)), of.Missed
	o.operator = o.operatorOf(r)
	o.key = keyOf(r, t)
	o.name = t.Fleet + "\x00" + o.key
	switch {
	case !o.made(t, first.Offset):
		return nil, SkippedRules, nil // the rule began anew since, or the log is another one
	case r.pattern != nil && r.pattern.prev:
		return nil, SkippedBack, nil
	case r.window != nil && r.window.count == 0 && o.moment <= t.End.UnixMicro()+r.window.lateness:
		return nil, SkippedOpen, nil
	case s.Stored(o.at.topic, o.at.number) <= o.last:
		return nil, SkippedAhead, nil
	}
	return o, "", nil
}

// matchMost bounds how many offsets are tried as that of the first event of a match.
const matchMost = 200_000

// made reports whether the result's id is one that this rule makes with its present log and first offset. first is
// the result's first offset. Of a match it also finds begins: in the order of time the first event of a match need
// not have the lowest offset.
func (o *origin) made(t *telling, first int64) bool {
	p, k := o.partition(), &keyState{name: o.name}
	is := func(w window) bool { return p.idOf(o.operator, k, w) == t.ID }
	switch {
	case o.Rule.join != nil:
		return is(window{id: first}) || is(window{id: first, with: aloneRight}) || is(window{id: first, with: o.last + 1}) ||
			is(window{id: o.last, with: first + 1})
	case o.Rule.pattern != nil:
		for o.begins = first; o.begins <= min(o.last, first+matchMost); o.begins++ {
			if is(window{id: o.begins}) {
				return true
			}
		}
		return false
	}
	return is(window{id: o.window(t)})
}

// delay returns the delay of the stream, in µs, when it read a record.
func (s Sample) delay(by *Reading) int64 {
	switch {
	case by != nil:
		return by.Delay
	case s.Delay == 0:
		return (5 * time.Second).Microseconds()
	}
	return s.Delay.Microseconds()
}

// by returns how the record at a place was read, nil when that is not known.
func (o *origin) by(at event.Coordinates) *Reading {
	if at.Topic != o.at.topic || at.Partition != o.at.number {
		return nil
	}
	return o.read.at(at.Offset)
}

// versionNamed returns the stored rule set of a version. It is nil when there is none, or this weir cannot parse it.
func versionNamed(ctx context.Context, q querier, version string) (*Set, error) {
	var text string
	err := q.QueryRowContext(ctx, `SELECT text FROM rule_version WHERE version = $1`, version).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading a version of rules: %w", err)
	}
	set, err := parseKept([]byte(text))
	if err != nil {
		return nil, nil // stored by a newer weir
	}
	return set, nil
}

// keyOf returns the JSON array of a result's key, as keyState.name has it.
func keyOf(r *Rule, t *telling) string {
	parts := make([]string, len(r.key))
	for i, part := range r.key {
		parts[i] = string(t.Key[part.name])
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// operatorOf returns an operator of the rule without limits, which emits final results only.
func (o *origin) operatorOf(r *Rule) *operator {
	op := newOperator(r, o.set.Version)
	op.since, op.usual.emit = o.tally.Since, emitSpec{}
	op.usual.limits = limits{waiting: math.MaxInt, ways: maxThreads}
	return op
}

// partition returns a partition whose watermark does not follow events: it moves only by advance.
func (o *origin) partition() *partition {
	const unmoved = math.MaxInt64 / 4
	p := newPartition(&Set{Version: o.set.Version, layout: o.set.layout}, o.at.topic, o.at.number, unmoved, 0)
	p.origin = o.log
	return p
}

// window returns the id of the window that a result is about.
func (o *origin) window(t *telling) int64 {
	switch w := o.Rule.window; {
	case w.grid != nil:
		return t.End.UnixMicro()
	case w.gap > 0:
		return t.Start.UnixMicro()
	}
	first, _ := event.ParseCoordinates(t.First) // it was read before
	return first.Offset
}

// span is the time in which events can be of the result, or could have been.
func (o *origin) span(t *telling) (from, to int64) {
	from, to = t.Start.UnixMicro(), t.End.UnixMicro()
	switch r := o.Rule; {
	case r.pattern != nil:
		return from, from + r.pattern.within
	case r.join != nil:
		wide := r.join.before + r.join.after
		return from - wide, to + wide
	case r.window.grid != nil:
		return from, to - 1
	case r.window.gap > 0:
		return from - r.window.gap, to
	}
	return from, to
}

// wanted selects the events that the result counts or could count: of its device, or of all devices.
func (o *origin) wanted(t *telling) Wanted {
	from, to := o.span(t)
	return Wanted{Fleet: t.Fleet, Device: o.device(o.key), Topic: o.at.topic, Partition: o.at.number, From: from, To: to}
}

// takes returns a stored event as it was given to the rule. is is false when the rule was not given it: it is of
// another partition, from before the rule began, or not read yet.
func (o *origin) takes(s Stored) (a applied, is bool, err error) {
	offset := s.First.Offset
	if s.First.Topic != o.at.topic || s.First.Partition != o.at.number || offset < o.tally.Since || offset >= o.next {
		return a, false, nil
	}
	var e event.Event
	if err := event.Parse(s.JSON, &e); err != nil {
		return a, false, fmt.Errorf("reading a stored event: %w", err)
	}
	fleet, _, _ := strings.Cut(o.name, "\x00")
	at := countsAt(&e, s.Received, s.Flags, o.read.ahead(offset)).UnixMicro()
	return applied{record{fleet, at, e.UUID, offset}, s.JSON, s.Again}, true, nil
}

// compute returns the result of an id that events yield, nil for none.
func (o *origin) compute(id string, events []applied) (*telling, error) {
	sum := o.summing()
	for _, e := range events {
		if err := sum.add(e); err != nil {
			return nil, err
		}
	}
	return sum.result(id)
}

// summing is a partition with one operator, to which events are added one after the other.
type summing struct{ p *partition }

func (o *origin) summing() summing {
	p := o.partition()
	p.ops = []*operator{o.operatorOf(o.Rule)}
	return summing{p}
}

func (s summing) add(e applied) error { return s.p.apply(e.raw, e.record) }

// counts reports whether an event of a key was added. key is the name of a keyState.
func (s summing) counts(key string) bool { return s.p.ops[0].keys[key] != nil }

// result closes all windows and returns the last revision of the result of an id, nil for none. Nothing may be added
// afterwards.
func (s summing) result(id string) (*telling, error) {
	s.p.advance(never - 1)
	for _, r := range slices.Backward(s.p.out) {
		if r.ID == id {
			t := &telling{}
			return t, json.Unmarshal(r.JSON, t)
		}
	}
	return nil, nil
}
