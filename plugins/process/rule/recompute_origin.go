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

// origin is what a result was made by: the rule of its version, in a partition, as
// it counts there since an offset.
type origin struct {
	*operator
	set    *Set
	at     place
	log    string
	next   int64 // the offset that comes next
	moment int64 // the partition's time
	delay  int64 // how far it is behind the newest event
	read   readings
	tally  ruleTally
	missed int64
	name   string // fleet, 0, JSON of the key's values
	key    string
	last   int64 // the last offset that the result counts
	begins int64 // of a match: the offset of its first event

	unlisted bool // a name left the sketches of the result, and may have come again
}

// applied is an event with where it counts.
type applied struct {
	record
	raw   []byte
	again bool
}

// aheadMost is max_ahead of a rules stream that has not written it down: its default.
const aheadMost = 5 * time.Minute

// origin finds what made a result. Why says that it is not there any more.
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
		return nil, SkippedRules, nil // of an earlier life of the rule, or another log
	case r.pattern != nil && r.pattern.prev:
		return nil, SkippedBack, nil
	case r.window != nil && r.window.count == 0 && o.moment <= t.End.UnixMicro()+r.window.lateness:
		return nil, SkippedOpen, nil
	case s.Stored(o.at.topic, o.at.number) <= o.last:
		return nil, SkippedAhead, nil
	}
	return o, "", nil
}

// matchMost bounds how many offsets are tried for the first of a match.
const matchMost = 200_000

// made tells whether a result is of this life of its rule: its id says so.
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

// delay is that of the stream when it read a record.
func (s Sample) delay(by *Reading) int64 {
	switch {
	case by != nil:
		return by.Delay
	case s.Delay == 0:
		return (5 * time.Second).Microseconds()
	}
	return s.Delay.Microseconds()
}

// by is how the record at a place was read.
func (o *origin) by(at event.Coordinates) *Reading {
	if at.Topic != o.at.topic || at.Partition != o.at.number {
		return nil
	}
	return o.read.at(at.Offset)
}

// versionNamed is a rule set that was put, or in force by a file; nil where there is none, or this weir
// does not read it.
func versionNamed(ctx context.Context, q querier, version string) (*Set, error) {
	var text string
	err := q.QueryRowContext(ctx, `SELECT text FROM rule_version WHERE version = $1`, version).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading a version of rules: %w", err)
	}
	set, err := Parse([]byte(text))
	if err != nil {
		return nil, nil // of a newer weir
	}
	return set, nil
}

// keyOf is the JSON of a result's key, as states have it.
func keyOf(r *Rule, t *telling) string {
	parts := make([]string, len(r.key))
	for i, part := range r.key {
		parts[i] = string(t.Key[part.name])
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// operatorOf is the rule's, which bounds nothing and tells everything at its end.
func (o *origin) operatorOf(r *Rule) *operator {
	op := newOperator(r, o.set.Version)
	op.since, op.usual.emit = o.tally.Since, emitSpec{}
	op.usual.limits = limits{waiting: math.MaxInt, ways: maxThreads}
	return op
}

// partition is one whose time does not move until it is told to.
func (o *origin) partition() *partition {
	const unmoved = math.MaxInt64 / 4
	p := newPartition(&Set{Version: o.set.Version, layout: o.set.layout}, o.at.topic, o.at.number, unmoved, 0)
	p.origin = o.log
	return p
}

// window is what the result of a window is known by.
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

// wanted are the events that can be of the result, or could have been: of its device,
// or of all.
func (o *origin) wanted(t *telling) Wanted {
	from, to := o.span(t)
	return Wanted{Fleet: t.Fleet, Device: o.device(o.key), Topic: o.at.topic, Partition: o.at.number, From: from, To: to}
}

// takes makes of a stored event what the rule was given; it is not when it was
// read before the rule began, or has not been.
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

// compute is what events come to: the result of an id, nil for none.
func (o *origin) compute(id string, events []applied) (*telling, error) {
	sum := o.summing()
	for _, e := range events {
		if err := sum.add(e); err != nil {
			return nil, err
		}
	}
	return sum.result(id)
}

// summing takes events in, one after the other.
type summing struct{ p *partition }

func (o *origin) summing() summing {
	p := o.partition()
	p.ops = []*operator{o.operatorOf(o.Rule)}
	return summing{p}
}

func (s summing) add(e applied) error { return s.p.apply(e.raw, e.record) }

// counts tells whether what was added is of a key.
func (s summing) counts(key string) bool { return s.p.ops[0].keys[key] != nil }

// result is what all of them come to, nil for none. Nothing is added any more.
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
