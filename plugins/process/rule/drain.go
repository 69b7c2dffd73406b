package rule

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// A rule that changes is drained: as it was, it goes on to count, and tells what
// began before the change. What begins later is told by the rule as it is. So
// nothing that was open is dropped, nothing is told by both, and a rule that comes
// back while it drains has counted without a gap. One that goes tells nothing any
// more, and counts on for as long: it may come back.

// turn says from which time on what begins is told by which epoch of a rule, ""
// for none.
type turn struct {
	From  int64  `json:"from"`
	Epoch string `json:"epoch"`
}

// drained is a rule that was in force, as a position keeps it.
type drained struct {
	Name    string `json:"name"`
	Version string `json:"version"` // of the rule set that has its text
	Last    int64  `json:"last"`    // the latest time at which what it tells began
	ruleTally
}

// drainsMost is how many earlier forms of a rule are drained at a time. Beyond
// that the oldest is dropped, as what cannot be read any more.
const drainsMost = 4

// owns tells whether the operator tells what begins at a time.
func (op *operator) owns(start int64) bool {
	if len(op.turns) == 0 {
		return true
	}
	i, _ := slices.BinarySearchFunc(op.turns, start, func(t turn, start int64) int {
		if t.From <= start {
			return -1
		}
		return 1
	})
	return op.turns[max(i-1, 0)].Epoch == op.Epoch
}

// horizon is after what time nothing of a rule that began before is open, or can be
// corrected; of a session, that had no event since.
func (r *Rule) horizon() int64 {
	switch w := r.window; {
	case r.pattern != nil:
		return r.pattern.within + time.Second.Microseconds()
	case r.join != nil:
		return r.join.before + r.join.after + r.join.lateness + time.Second.Microseconds()
	case w.grid != nil && w.grid.calendar != nil:
		longest := map[string]int64{"day": 1, "week": 7, "month": 31}[w.grid.calendar.unit]
		return (longest*24+2)*time.Hour.Microseconds() + w.lateness // of 25 hours, and aligned
	case w.grid != nil:
		return w.grid.size + w.lateness
	case w.gap > 0:
		return w.gap + w.lateness + 1
	}
	return r.window.max
}

// over tells whether an operator that drains has nothing more to tell: of sessions
// it looks at what is open, seldom.
func (op *operator) over(now int64) bool {
	if now <= op.last || now-op.last < op.horizon() || now < op.looked {
		return false
	}
	if op.window == nil || op.window.gap == 0 {
		return true
	}
	for _, k := range op.keys {
		if len(k.panes) > 0 && k.panes[0].start <= op.last+op.window.gap {
			op.looked = now + op.window.gap
			return false
		}
	}
	return true
}

// change decides what becomes of what was in force when a partition takes other
// rules up: what is drained, and who tells what from then on. Can tells whether
// the set of a version can be read.
func (t *tally) change(from string, can bool, set *Set, newest int64) {
	now := map[string]string{}
	for _, r := range set.Rules {
		now[r.Name] = r.Epoch
	}
	names := maps.Clone(now)
	for name, was := range t.Rules {
		names[name] = now[name]
		if was.Epoch != now[name] && can {
			t.Drains = append(t.Drains, drained{Name: name, Version: from, Last: newest, ruleTally: was})
		}
	}
	for name, epoch := range names {
		was := t.Rules[name].Epoch
		turns := t.Turns[name]
		if was == epoch || len(turns) == 0 && (was == "" || !can) {
			continue
		}
		comesBack := was == "" && slices.ContainsFunc(t.Drains, func(d drained) bool { return d.Epoch == epoch })
		switch {
		case epoch == "", comesBack: // from now on none tells anything, or it alone
			turns = []turn{{math.MinInt64, epoch}}
		case len(turns) == 0:
			turns = []turn{{math.MinInt64, was}, {newest + 1, epoch}}
		default:
			turns = append(turns, turn{newest + 1, epoch})
		}
		if t.Turns == nil {
			t.Turns = map[string][]turn{}
		}
		t.Turns[name] = turns
	}
	slices.SortStableFunc(t.Drains, func(a, b drained) int { // the oldest first, those of one change by name
		switch {
		case a.Last != b.Last:
			return int(min(max(a.Last-b.Last, -1), 1))
		case a.Name < b.Name:
			return -1
		}
		return 1
	})
}

// take returns the account of a rule that is in force: as it was, as it drained,
// or anew. One that is in force drains no more.
func (t *tally) take(r *Rule) (ruleTally, bool) {
	if was, is := t.Rules[r.Name]; is && was.Epoch == r.Epoch {
		return was, true
	}
	i := slices.IndexFunc(t.Drains, func(d drained) bool { return d.Epoch == r.Epoch })
	if i < 0 {
		return ruleTally{}, false
	}
	was := t.Drains[i].ruleTally
	t.Drains = slices.Delete(t.Drains, i, i+1)
	return was, true
}

// drain makes the partitions of what drains. What cannot be read any more is left
// out: its state is dropped, and counted, with what else has no rule.
func (o *output) drain(ctx context.Context, tx *sql.Tx, h *held) error {
	by := map[string]*partition{}
	kept, count := h.tally.Drains[:0], map[string]int{}
	for i, d := range slices.Backward(h.tally.Drains) {
		if count[d.Name]++; count[d.Name] > drainsMost {
			h.tally.Drains[i].Epoch = ""
		}
	}
	for _, d := range h.tally.Drains {
		set, err := o.setOf(ctx, tx, d.Version)
		if err != nil {
			return err
		}
		if set == nil || d.Epoch == "" {
			continue
		}
		at := slices.IndexFunc(set.Rules, func(r *Rule) bool { return r.Epoch == d.Epoch })
		if at < 0 {
			continue
		}
		p := by[d.Version]
		if p == nil {
			p = newPartition(&Set{Version: set.Version, layout: set.layout}, h.topic, h.number, h.delay, h.perFleet)
			p.time, p.origin = h.time, h.origin
			by[d.Version] = p
			h.drains = append(h.drains, p)
		}
		op := newOperator(set.Rules[at])
		op.since, op.before, op.tally, op.givenUp, op.last = d.Since, d.Before, d.Counts, d.GivenUp, d.Last
		p.ops = append(p.ops, op)
		kept = append(kept, d)
	}
	h.tally.Drains = kept
	for _, p := range h.all() {
		for _, op := range p.ops {
			op.turns = h.tally.Turns[op.Name]
		}
	}
	return nil
}

// setOf is a rule set that was put, nil when there is none of the version, or this
// weir does not read it.
func (o *output) setOf(ctx context.Context, tx *sql.Tx, version string) (*Set, error) {
	if set := o.sets[version]; set != nil {
		return set, nil
	}
	var text string
	err := tx.QueryRowContext(ctx, `SELECT text FROM rule_version WHERE version = $1`, version).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("reading rules that were in force: %w", err)
	}
	if err != nil {
		return nil, nil
	}
	set, err := Parse([]byte(text))
	if err != nil { // of a newer weir
		o.log.Warnf("version %s of rules, which was in force, cannot be read, and is not drained: %v", version, err)
		return nil, nil
	}
	if len(o.sets) > 8*drainsMost {
		clear(o.sets)
	}
	if o.sets == nil {
		o.sets = map[string]*Set{}
	}
	o.sets[version] = set
	return set, nil
}

// all are the partition by the rules in force, and those of what drains.
func (h *held) all() []*partition { return append([]*partition{h.partition}, h.drains...) }

// due is when something happens next.
func (h *held) due() int64 {
	next := h.next
	for _, d := range h.drains {
		next = min(next, d.next)
	}
	return next
}

// advanceAll moves the time of all.
func (h *held) advanceAll(to int64) {
	for _, p := range h.all() {
		p.advance(to)
	}
}

// settle takes what drains has told, and ends what has nothing more to tell.
func (h *held) settle(ctx context.Context, tx *sql.Tx) error {
	h.tally.Drains = h.tally.Drains[:0]
	left := map[string]bool{}
	for _, p := range h.drains {
		h.out = append(h.out, p.out...)
		p.out, p.misses = p.out[:0], p.misses[:0]
		ops := p.ops[:0]
		for _, op := range p.ops {
			if !op.over(p.time) {
				left[op.Name] = true
				ops = append(ops, op)
				h.tally.Drains = append(h.tally.Drains, drained{op.Name, p.set.Version, op.last,
					ruleTally{op.Epoch, op.since, op.before, op.tally, op.givenUp}})
				continue
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM rule_state WHERE topic = $1 AND part = $2 AND epoch = $3`, h.topic,
				h.number, op.Epoch); err != nil {
				return fmt.Errorf("deleting the state of a rule that has drained: %w", err)
			}
		}
		p.ops = ops
	}
	h.drains = slices.DeleteFunc(h.drains, func(p *partition) bool { return len(p.ops) == 0 })
	for name, turns := range h.tally.Turns {
		longest := int64(0)
		for _, op := range h.ops {
			if op.Name == name {
				longest = op.horizon()
			}
		}
		from := turns[len(turns)-1].From
		if !left[name] && h.time != none && (from == math.MinInt64 || h.time-from >= longest) {
			delete(h.tally.Turns, name)
			for _, op := range h.ops {
				if op.Name == name {
					op.turns = nil
				}
			}
		}
	}
	return nil
}
