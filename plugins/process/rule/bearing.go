package rule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/internal/event"
	"weir/internal/platform/sqldb"
)

// Bearing is what a rule did with an event when the stream of rules read it.
type Bearing struct {
	Rule    string `json:"rule"`
	Version string `json:"version"` // of the rules that were in force
	// Outcome is counted, filtered or failed. An event with the outcome counted can still have been too late for its
	// windows, or beyond a limit: then no result counts it.
	Outcome string `json:"outcome"`
	// Results are the results that count the event, in their newest revisions; of a pattern, the matches that looked at
	// it. Nil means that they are not known: the rule counts all devices together or joins two topics, or more than
	// bearMost results come into question.
	Results []Counting `json:"results"`
}

// Counting is a result that counts an event.
type Counting struct {
	ID       string    `json:"id"`
	Revision int64     `json:"revision"`
	Start    time.Time `json:"window_start"`
	End      time.Time `json:"window_end"`
}

// Happened is an event of the raw store.
type Happened struct {
	Fleet, Device string
	At            time.Time         // the time at which it counts
	First         event.Coordinates // of its first delivery
}

// bearMost bounds the results that are searched for one rule. sessionMost is how long a session is assumed to last at
// most, and how far apart the events of a count window are.
const (
	bearMost    = 5000
	sessionMost = 24 * time.Hour
)

// BearsOn returns what the rules that were in force when the stream of rules read an event did with it. It is nil if no
// rules have read the event, or if their version is not stored any more.
func BearsOn(ctx context.Context, db *sqldb.DB, e Happened, events Events) ([]Bearing, error) {
	all, err := bearsOn(ctx, db, e, events)
	if err != nil {
		return nil, fmt.Errorf("looking for the rules of an event: %w", err)
	}
	return all, nil
}

func bearsOn(ctx context.Context, db *sqldb.DB, e Happened, events Events) ([]Bearing, error) {
	if there, err := migrated(ctx, db); err != nil || !there {
		return nil, err
	}
	at := place{e.First.Topic, e.First.Partition}
	o := &origin{at: at, last: e.First.Offset, name: e.Fleet + "\x00"}
	var version string
	err := db.QueryRowContext(ctx, `SELECT p.log, p.next, s.version FROM rule_position p JOIN rule_switch s ON
		s.topic = p.topic AND s.part = p.part AND s.log = p.log AND s.first <= $3 WHERE p.topic = $1 AND p.part = $2
		ORDER BY s.first DESC LIMIT 1`, at.topic, at.number, e.First.Offset).Scan(&o.log, &o.next, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	version, canary, fleets := named(version)
	if canary != "" && among(fleets, e.Fleet) {
		version = canary
	}
	if err == nil {
		o.set, err = versionNamed(ctx, db, version)
	}
	if err != nil || o.set == nil {
		return nil, err
	}
	if o.read, err = readingsOf(ctx, db, at); err != nil {
		return nil, err
	}
	var taken *applied
	moment := e.At.UnixMicro()
	wanted := Wanted{Fleet: e.Fleet, Device: e.Device, Topic: at.topic, Partition: at.number, From: moment, To: moment}
	err = events.Of(ctx, wanted, o.by, func(s Stored) error {
		a, is, err := o.takes(s)
		if is && s.First == e.First {
			taken = &a
			taken.raw = append([]byte(nil), a.raw...)
		}
		return err
	})
	if err != nil || taken == nil {
		return nil, err
	}
	all := []Bearing{}
	for _, r := range o.set.at(at.topic).Rules {
		b, err := o.bearing(ctx, db, r, e, *taken)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		all = append(all, b)
	}
	return all, nil
}

// bearing evaluates one rule on the event, and looks for the results that count it.
func (o *origin) bearing(ctx context.Context, db *sqldb.DB, r *Rule, e Happened, a applied) (Bearing, error) {
	b := Bearing{Rule: r.Name, Version: o.set.Version, Results: []Counting{}}
	p, op := o.partition(), o.operatorOf(r)
	p.ops = []*operator{op}
	if err := p.apply(a.raw, a.record); err != nil {
		return b, err
	}
	outcome := Counted
	for i := range op.tally {
		if op.tally[i] > 0 {
			outcome = Outcome(i)
		}
	}
	if b.Outcome = outcome.String(); outcome != Counted {
		return b, nil
	}
	if r.across || strings.Contains(r.whereabouts(), between) {
		b.Results = nil
		return b, nil
	}
	q := Query{Fleet: e.Fleet, Rule: r.Name, Limit: bearMost}
	q.From, q.To = r.told(a.At)
	for _, part := range r.key {
		if part.name == event.FieldDevice {
			q.Devices = []string{e.Device}
		}
	}
	results, next, err := Results(ctx, db, q)
	if err != nil {
		return b, err
	}
	if next != nil {
		b.Results = nil
		return b, nil
	}
	key, _ := strings.CutPrefix(string(p.key), e.Fleet+"\x00")
	for _, raw := range results {
		var t telling
		if err := json.Unmarshal(raw, &t); err != nil {
			return b, err
		}
		if t.Status != statusRetracted && keyOf(r, &t) == key && o.counts(r, &t, a) {
			b.Results = append(b.Results, Counting{t.ID, t.Revision, t.Start, t.End})
		}
	}
	return b, nil
}

// told returns the range [from, to) of the ends of those results that can count an event of time at.
func (r *Rule) told(at int64) (from, to time.Time) {
	first, last := at, at
	switch w := r.window; {
	case r.pattern != nil:
		last += r.pattern.within
	case r.join != nil:
		wide := r.join.before + r.join.after
		first, last = at-wide, at+wide
	case w.grid != nil && w.grid.calendar != nil:
		last += (32 * 24 * time.Hour).Microseconds() // at most a month, with a change of clocks
	case w.grid != nil:
		last += w.grid.size
	case w.gap > 0:
		last += sessionMost.Microseconds() + w.gap
	default: // a count window takes its events in the order of the log, not of time
		wide := sessionMost.Microseconds() + w.max
		first, last = at-wide, at+wide
	}
	return time.UnixMicro(first), time.UnixMicro(last + 1)
}

// counts tells whether a result of the event's key counts the event: the event is the first or the last of a pair, or
// lies between the first and the last event of the result, and within its window.
func (o *origin) counts(r *Rule, t *telling, a applied) bool {
	first, err := event.ParseCoordinates(t.First)
	last, err2 := event.ParseCoordinates(t.Last)
	if err != nil || err2 != nil || first.Topic != o.at.topic || first.Partition != o.at.number ||
		a.Offset < first.Offset || a.Offset > last.Offset {
		return false
	}
	switch {
	case r.join != nil:
		return a.Offset == first.Offset || a.Offset == last.Offset
	case r.pattern != nil || r.window.count > 0:
		return true
	case r.window.grid != nil:
		return a.At >= t.Start.UnixMicro() && a.At < t.End.UnixMicro()
	}
	return a.At >= t.Start.UnixMicro() && a.At <= t.End.UnixMicro()
}
